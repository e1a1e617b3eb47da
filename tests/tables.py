"""Tables emptied between tests."""


def emptied(*tables):
    """The SQL that empties tables of coco; each of them stands after those
    that refer to it. As `truncate` it waits for the transactions of others,
    but makes no new files for a table, its indexes and its partitions, which
    takes a second for thirty tables. One transaction."""
    names = ["coco." + table for table in tables]
    return "lock table %s in access exclusive mode; %s" % (
        ", ".join(names), "; ".join("delete from " + name for name in names))
