/*
 * The events and who consumes them. Takes decisions from the
 * configuration alone; knows no broker.
 */

#include "services/service.h"
#include "sinks/bus_topology.h"

/* ConnectivityRawStatusChanged is applied by the state service inside the
 * transaction that makes it; outsiders bind to it, as to those that no
 * service makes yet. */
const coco_bus_name_t  coco_bus_names[] = {
    { "IoT.Heartbeat", COCO_SERVICE_OPERATIONS | COCO_SERVICE_FLEET
                       | COCO_SERVICE_DELIVERIES | COCO_SERVICE_DISPATCH },
    { "Robots.StateChange", COCO_SERVICE_OPERATIONS },
    { "Robots.BusinessStateChange", COCO_SERVICE_FLEET
                                    | COCO_SERVICE_DISPATCH },
    { "ConnectivityRawStatusChanged", 0 },
    { "Robots.LidOpen", COCO_SERVICE_DISPATCH },
    { "Robots.LidClose", COCO_SERVICE_DELIVERIES | COCO_SERVICE_DISPATCH },
    { "LidCycle.Complete", COCO_SERVICE_DELIVERIES | COCO_SERVICE_DISPATCH },
    { "Deliveries.DeliveryEvent", 0 },
    { "DispatchEngine.SupplyEvent", 0 },
};

const size_t  coco_bus_names_count
    = sizeof(coco_bus_names) / sizeof(coco_bus_names[0]);

const coco_bus_consumer_t  coco_bus_consumers[COCO_BUS_CONSUMERS] = {
    { COCO_SERVICE_OPERATIONS, "operations", "coco.operations" },
    { COCO_SERVICE_FLEET, "fleet", "coco.fleet" },
    { COCO_SERVICE_DELIVERIES, "deliveries", "coco.deliveries" },
    { COCO_SERVICE_DISPATCH, "dispatch", "coco.dispatch" },
};


const coco_bus_name_t *
coco_bus_name_find(coco_str_t name)
{
    const char  *known;

    for (size_t i = 0; i < coco_bus_names_count; i++) {
        known = coco_bus_names[i].name;

        if (coco_str_equal(name, (coco_str_t) { known, strlen(known) })) {
            return &coco_bus_names[i];
        }
    }

    return NULL;
}


bool
coco_bus_consumes(const coco_config_t *config, const coco_bus_name_t *name,
    unsigned service)
{
    if (config->kafka_feeds_fleet && service == COCO_SERVICE_FLEET
        && name == &coco_bus_names[0])
    {
        return false;
    }

    return (name->consumers & service) != 0;
}


bool
coco_bus_takes(const coco_config_t *config, const coco_bus_name_t *name,
    unsigned service)
{
    return (config->service_bits & service) != 0
           && !coco_bus_whole(config)
           && coco_bus_consumes(config, name, service);
}


bool
coco_bus_loops(const coco_config_t *config, const coco_bus_name_t *name)
{
    for (size_t i = 0; i < COCO_BUS_CONSUMERS; i++) {
        if ((config->service_bits & coco_bus_consumers[i].service) != 0
            && coco_bus_consumes(config, name, coco_bus_consumers[i].service))
        {
            return true;
        }
    }

    return false;
}


bool
coco_bus_whole(const coco_config_t *config)
{
    return (config->service_bits & COCO_SERVICES_BUS) == COCO_SERVICES_BUS;
}
