/*
 * Shared by the core's unit tests: the cases of tests/data, one a file, each
 * run as a test of its own name. Run from the top folder.
 */

#ifndef CORE_TEST_H
#define CORE_TEST_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "coco_core.h"

#include <cmocka.h>

/* The receiver's clock in all cases: 2026-11-18T11:06:40Z. */
#define RECEIVED_AT  INT64_C(1795000000000)
#define TOPIC        coco_string("R-1")

typedef struct {
    char        name[300];
    coco_str_t  text;           /* exactly its size, for the sanitizers */
} test_file_t;

typedef struct {
    test_file_t  *files;
    size_t        count;
} test_files_t;


static inline coco_str_t
test_file_read(const char *path)
{
    FILE  *file = fopen(path, "rb");
    long   size;
    char  *data;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0
        || (size = ftell(file)) < 0)
    {
        perror(path);
        exit(1);
    }

    rewind(file);
    data = malloc((size_t) size);

    if ((data == NULL && size > 0)
        || fread(data, 1, (size_t) size, file) != (size_t) size)
    {
        perror(path);
        exit(1);
    }

    fclose(file);

    return (coco_str_t) { data, (size_t) size };
}


/* All files of a folder, by name; no folder or an empty one is a failure. */
static inline test_files_t
test_files_load(const char *dir)
{
    int              i, n;
    char             path[1024];
    test_files_t     files = { NULL, 0 };
    struct dirent  **entries;

    n = scandir(dir, &entries, NULL, alphasort);
    files.files = calloc(n > 0 ? (size_t) n : 1, sizeof(test_file_t));

    for (i = 0; i < n && files.files != NULL; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", dir, entries[i]->d_name);
            snprintf(files.files[files.count].name,
                     sizeof(files.files[0].name), "%s", entries[i]->d_name);
            files.files[files.count++].text = test_file_read(path);
        }

        free(entries[i]);
    }

    if (files.count == 0) {
        fprintf(stderr, "%s: no cases; run from the top folder\n", dir);
        exit(1);
    }

    free(entries);

    return files;
}


static inline void
test_files_free(test_files_t *files)
{
    size_t  i;

    for (i = 0; i < files->count; i++) {
        free((char *) files->files[i].text.data);
    }

    free(files->files);
}


/* Runs the test once a file of the folder; its state is the test_file_t. */
static inline int
test_files_run(const char *dir, CMUnitTestFunction test)
{
    int                 failed;
    size_t              i;
    test_files_t        files = test_files_load(dir);
    struct CMUnitTest  *tests = calloc(files.count, sizeof(*tests));

    if (tests == NULL) {
        exit(1);
    }

    for (i = 0; i < files.count; i++) {
        tests[i].name = files.files[i].name;
        tests[i].test_func = test;
        tests[i].initial_state = &files.files[i];
    }

    failed = _cmocka_run_group_tests(dir, tests, files.count, NULL, NULL);

    free(tests);
    test_files_free(&files);

    return failed;
}


/* The field that a refused case must name: what stands before "--" in the
 * file's name, "text" for the whole. */
static inline void
test_file_field(const test_file_t *file, char *ret, size_t size)
{
    const char  *end = strstr(file->name, "--");

    assert_non_null(end);
    snprintf(ret, size, "%.*s", (int) (end - file->name), file->name);

    if (strcmp(ret, "text") == 0) {
        ret[0] = '\0';
    }
}

#endif /* CORE_TEST_H */
