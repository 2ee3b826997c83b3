/* SPDX-License-Identifier: Apache-2.0 */

// c-proactor's commands connect, idle and listen.
#include "c_proactor.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/event.h>
#include <proton/listener.h>
#include <proton/transport.h>

#include <pthread.h>

typedef struct {
    const Options *options;
    pn_proactor_t *proactor;
    pn_listener_t *listener;
    pn_ssl_domain_t *domain;
    uint64_t started, open;
    bool failed, reported, finished;
    Report report;
} Peer;

static void fail(Peer *peer, const char *what, const char *why) {
    if (!peer->failed) complain(peer->options->program, "%s %s", what, why);
    peer->failed = peer->finished = true;
}

static void connect_next(Peer *peer) {
    peer->started++;
    connect_to_peer(peer->options, peer->proactor, peer->domain);
}

static void report_held(Peer *peer) {
    peer->reported = true;
    peer->report.connections = peer->open;
    peer->report.resident_after = resident_bytes();
    print_report(peer->options, &peer->report);
}

static void opened(Peer *peer, pn_connection_t *connection) {
    pn_connection_open(connection);
    peer->open++;
    switch (peer->options->command) {
    case CONNECT: pn_connection_close(connection); break;
    case IDLE:
        if (peer->open < peer->options->count) connect_next(peer);
        else report_held(peer);
        break;
    default:
        if (peer->open == peer->options->count && !peer->reported) report_held(peer);
    }
}

static void closed(Peer *peer, pn_event_t *event) {
    pn_connection_t *connection = pn_event_connection(event);
    pn_condition_t *condition = pn_transport_condition(pn_event_transport(event));
    bool was_open = pn_connection_state(connection) & (PN_REMOTE_ACTIVE | PN_REMOTE_CLOSED);
    bool is_complete = pn_connection_state(connection) == (PN_LOCAL_CLOSED | PN_REMOTE_CLOSED);
    if (was_open) peer->open--;
    switch (peer->options->command) {
    case LISTEN: break;
    case CONNECT:
        if (is_complete && !pn_condition_is_set(condition)) {
            peer->report.last = now();
            peer->report.connections++;
            if (peer->started < peer->options->count) connect_next(peer);
            else peer->finished = true;
            break;
        }
        // fallthrough
    default: fail(peer, "connection lost:", reason(condition));
    }
}

static void handle(Peer *peer, pn_event_t *event) {
    pn_connection_t *connection = pn_event_connection(event);
    switch (pn_event_type(event)) {
    case PN_LISTENER_OPEN: say_listening(listener_port(peer->listener)); break;
    case PN_LISTENER_ACCEPT: accept_peer(pn_event_listener(event), peer->domain); break;
    case PN_LISTENER_CLOSE:
        fail(peer, "does not listen:", reason(pn_listener_condition(pn_event_listener(event))));
        break;
    case PN_CONNECTION_INIT:
        pn_connection_set_container(connection, peer->options->program);
        if (peer->listener) break;
        pn_connection_set_hostname(connection, "localhost");
        pn_connection_open(connection);
        break;
    case PN_CONNECTION_REMOTE_OPEN: opened(peer, connection); break;
    case PN_CONNECTION_REMOTE_CLOSE: pn_connection_close(connection); break;
    case PN_TRANSPORT_CLOSED: closed(peer, event); break;
    case PN_PROACTOR_INTERRUPT: peer->finished = true; break;
    default: break;
    }
}

static void *watch_input(void *proactor) {
    wait_for_end_of_input();
    pn_proactor_interrupt(proactor);
    return NULL;
}

int run_connections(const Options *options) {
    Peer peer = {.options = options};
    allow_many_files();
    peer.domain = tls_domain(options);
    peer.proactor = pn_proactor();
    pthread_t watcher;
    bool is_watching = options->command != CONNECT;
    if (is_watching && pthread_create(&watcher, NULL, watch_input, peer.proactor) != 0) return 1;
    peer.report.resident_before = resident_bytes();
    peer.report.first = now();
    if (options->command == LISTEN) peer.listener = start_listener(options, peer.proactor);
    else connect_next(&peer);
    while (!peer.finished) {
        pn_event_batch_t *batch = pn_proactor_wait(peer.proactor);
        for (pn_event_t *event; (event = pn_event_batch_next(batch));) handle(&peer, event);
        pn_proactor_done(peer.proactor, batch);
    }
    if (options->command == CONNECT && !peer.failed) print_report(options, &peer.report);
    if (is_watching && options->count > 0 && !peer.reported)
        fail(&peer, "standard input ended", "before all connections were open");
    if (is_watching) {
        // The watcher sleeps in read() if a connection failed.
        pthread_cancel(watcher);
        pthread_join(watcher, NULL);
    }
    pn_proactor_free(peer.proactor);
    if (peer.domain) pn_ssl_domain_free(peer.domain);
    return peer.failed ? 1 : 0;
}
