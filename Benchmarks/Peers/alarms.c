/* SPDX-License-Identifier: Apache-2.0 */

// The program on plain Proton-C for the scenario `priority` of the flow benchmarks: urgent messages and bulk on one
// connection.
#include "common.h"

#include <proton/connection.h>
#include <proton/condition.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/message.h>
#include <proton/proactor.h>
#include <proton/sasl.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "alarms HOST:PORT SECONDS RATE SIZE\n"
    "\n"
    "Sends messages of SIZE bytes to `bulk` whenever the link has credit, as Proton's examples do, and on\n"
    "the same session RATE messages of 100 bytes a second to `fast`, for SECONDS. Prints one line of JSON at\n"
    "the end: alarms, p50, p99, p999 and max (milliseconds from the send call to the settlement), bulk\n"
    "(settled MB a second over that time). Exits with 1 if the connection ends early.\n";

enum { SMALL = 100, NANOSECONDS = 1000000000 };

typedef struct {
    pn_proactor_t *proactor;
    pn_connection_t *connection;
    pn_link_t *bulk, *alarms;
    pn_bytes_t large, small;
    // Indexed by the number of the alarm. The sending thread writes `due` before `made`.
    int64_t *due, *latency;
    uint64_t count, sent, settled, bulk_settled, bulk_before, tags;
    _Atomic uint64_t made;
    atomic_bool finished;
    int64_t interval, start, end;
    bool failed;
} Peer;

static pn_bytes_t encoded(size_t size) {
    char *body = allocate(size), *bytes = allocate(size + 64);
    memset(body, 'x', size);
    pn_message_t *message = pn_message();
    pn_message_set_inferred(message, true);  // the body is a data section
    pn_data_put_binary(pn_message_body(message), pn_bytes(size, body));
    size_t count = size + 64;
    if (pn_message_encode(message, bytes, &count) != 0) abort();
    pn_message_free(message);
    free(body);
    return pn_bytes(count, bytes);
}

// The application's thread, which creates an alarm at each tick and wakes the connection.
static void *make_alarms(void *context) {
    Peer *peer = context;
    for (uint64_t number = 0; number < peer->count; number++) {
        int64_t due = peer->start + (int64_t)number * peer->interval;
        struct timespec time = {.tv_sec = due / NANOSECONDS, .tv_nsec = due % NANOSECONDS};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) != 0) {}
        if (atomic_load(&peer->finished)) break;
        peer->due[number] = now();
        atomic_store(&peer->made, number + 1);
        pn_connection_wake(peer->connection);
    }
    return NULL;
}

static void send_one(Peer *peer, pn_link_t *link, pn_bytes_t message, void *context) {
    uint64_t tag = peer->tags++;
    pn_delivery_t *delivery = pn_delivery(link, pn_dtag((const char *)&tag, sizeof tag));
    pn_delivery_set_context(delivery, context);
    pn_link_send(link, message.start, message.size);
    pn_link_advance(link);
}

static void send_all(Peer *peer) {
    uint64_t made = atomic_load(&peer->made);
    while (peer->sent < made && pn_link_credit(peer->alarms) > 0)
        send_one(peer, peer->alarms, peer->small, &peer->due[peer->sent++]);
    while (pn_link_credit(peer->bulk) > 0) send_one(peer, peer->bulk, peer->large, NULL);
}

static void settled(Peer *peer, pn_delivery_t *delivery) {
    if (!pn_delivery_remote_state(delivery)) return;
    int64_t *due = pn_delivery_get_context(delivery);
    pn_delivery_settle(delivery);
    if (!due) {
        peer->bulk_settled++;
        return;
    }
    if (peer->settled == 0) peer->bulk_before = peer->bulk_settled;
    peer->latency[due - peer->due] = now() - *due;
    if (++peer->settled < peer->count) return;
    peer->end = now();
    pn_connection_close(peer->connection);
}

static void fail(Peer *peer, pn_condition_t *condition) {
    if (peer->settled >= peer->count) return;
    peer->failed = true;
    const char *text = pn_condition_get_description(condition);
    complain("alarms", "the connection ended: %s", text ? text : "no reason given");
}

static pn_link_t *open_link(pn_session_t *session, const char *address) {
    pn_link_t *link = pn_sender(session, address);
    pn_terminus_set_address(pn_link_target(link), address);
    pn_link_open(link);
    return link;
}

static void handle(Peer *peer, pn_event_t *event) {
    switch (pn_event_type(event)) {
    case PN_CONNECTION_INIT: {
        pn_connection_set_container(peer->connection, "alarms");
        pn_connection_open(peer->connection);
        pn_session_t *session = pn_session(peer->connection);
        pn_session_open(session);
        peer->bulk = open_link(session, "bulk");
        peer->alarms = open_link(session, "fast");
        break;
    }
    case PN_LINK_FLOW:
    case PN_CONNECTION_WAKE: send_all(peer); break;
    case PN_DELIVERY:
        settled(peer, pn_event_delivery(event));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        fail(peer, pn_connection_remote_condition(peer->connection));
        pn_connection_close(peer->connection);
        break;
    case PN_TRANSPORT_CLOSED: fail(peer, pn_transport_condition(pn_event_transport(event))); break;
    default: break;
    }
}

static void report(Peer *peer) {
    sort_latencies(peer->latency, peer->settled);
    double seconds = (double)(peer->end - peer->start) / NANOSECONDS;
    double megabytes = (double)(peer->bulk_settled - peer->bulk_before) * (double)peer->large.size / 1e6;
    const double parts[] = {50, 99, 99.9, 100};
    double values[4];
    for (int index = 0; index < 4; index++)
        values[index] = (double)percentile(peer->latency, peer->settled, parts[index]) / 1e6;
    printf("{\"alarms\":%" PRIu64 ",\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f,\"bulk\":%.1f}\n",
           peer->settled, values[0], values[1], values[2], values[3], megabytes / seconds);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    double seconds = argc == 5 ? strtod(argv[2], NULL) : 0, rate = argc == 5 ? strtod(argv[3], NULL) : 0;
    size_t size = argc == 5 ? strtoull(argv[4], NULL, 10) : 0;
    if (!(seconds > 0 && seconds <= 3600 && rate > 0 && rate <= 1e6 && size > 0 && seconds * rate >= 1)) {
        fputs(usage, stderr);
        return 1;
    }
    Peer peer = {.count = (uint64_t)(seconds * rate), .interval = (int64_t)(NANOSECONDS / rate)};
    peer.due = allocate(peer.count * sizeof *peer.due);
    peer.latency = allocate(peer.count * sizeof *peer.latency);
    peer.large = encoded(size);
    peer.small = encoded(SMALL);
    peer.proactor = pn_proactor();
    peer.connection = pn_connection();
    pn_incref(peer.connection);  // the thread may wake the connection after its end
    pn_transport_t *transport = pn_transport();
    pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
    pn_proactor_connect2(peer.proactor, peer.connection, transport, argv[1]);
    peer.start = peer.end = now() + NANOSECONDS / 2;  // the socket buffers must grow first
    pthread_t thread;
    if (pthread_create(&thread, NULL, make_alarms, &peer) != 0) abort();
    for (bool inactive = false; !inactive;) {
        pn_event_batch_t *batch = pn_proactor_wait(peer.proactor);
        for (pn_event_t *event; (event = pn_event_batch_next(batch));) {
            if (pn_event_type(event) == PN_PROACTOR_INACTIVE) inactive = true;
            else handle(&peer, event);
        }
        pn_proactor_done(peer.proactor, batch);
    }
    atomic_store(&peer.finished, true);
    pthread_join(thread, NULL);
    if (!peer.failed) report(&peer);
    pn_decref(peer.connection);
    pn_proactor_free(peer.proactor);
    free(peer.due);
    free(peer.latency);
    free((void *)peer.large.start);
    free((void *)peer.small.start);
    return peer.failed ? 1 : 0;
}
