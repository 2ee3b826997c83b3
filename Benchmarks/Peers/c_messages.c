/* SPDX-License-Identifier: Apache-2.0 */

// c-proactor's commands receiver, sender and latency.
#include "c_proactor.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/listener.h>
#include <proton/message.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>

#include <stdlib.h>
#include <string.h>

typedef struct {
    const Options *options;
    bool sending, failed, finished;
    uint64_t sent, done;  // done: accepted by the receiver, or received
    pn_proactor_t *proactor;
    pn_listener_t *listener;
    pn_ssl_domain_t *domain;
    pn_connection_t *connection;
    pn_session_t *session;
    pn_link_t **links;
    unsigned turn;
    int allowance;
    pn_message_t *message;
    pn_bytes_t body;
    pn_rwbytes_t buffer;
    int64_t *started;  // indexed by the number of the message; its latency after the settlement
    Report report;
} Peer;

static void grow(pn_rwbytes_t *buffer, size_t size) {
    if (size <= buffer->size) return;
    free(buffer->start);
    buffer->start = allocate(size);
    buffer->size = size;
}

static void fail(Peer *peer, const char *what, const char *why) {
    if (peer->finished || peer->failed) return;
    peer->failed = true;
    complain(peer->options->program, "%s %s", what, why);
    if (peer->connection) pn_connection_close(peer->connection);
}

static void finish(Peer *peer) {
    peer->finished = true;
    pn_connection_close(peer->connection);
}

// The proactor writes to the socket only between batches of events. Without a limit on the messages of one batch, one
// side waits while the other works, and the rate falls from 0.88 to 0.48 million messages of 100 bytes a second.
// Without a limit on the bytes, large messages fill the memory up to the credit. PN_LINK_FLOW follows when the messages
// have been framed.
enum { BURST = 64, OUTGOING = 256 * 1024 };

static void send_message(Peer *peer, pn_link_t *link) {
    if (peer->started) peer->started[peer->sent] = now();
    pn_data_t *properties = pn_message_properties(peer->message);
    pn_data_clear(properties);
    pn_data_put_map(properties);
    pn_data_enter(properties);
    pn_data_put_string(properties, pn_bytes(4, "sent"));
    pn_data_put_timestamp(properties, wall_clock());
    pn_data_exit(properties);
    pn_data_t *body = pn_message_body(peer->message);
    pn_data_clear(body);
    pn_data_put_binary(body, peer->body);

    size_t size = peer->buffer.size;
    while (pn_message_encode(peer->message, peer->buffer.start, &size) == PN_OVERFLOW) {
        grow(&peer->buffer, peer->buffer.size * 2);
        size = peer->buffer.size;
    }
    uint64_t tag = peer->sent++;
    pn_delivery_t *delivery = pn_delivery(link, pn_dtag((const char *)&tag, sizeof tag));
    if (peer->started) pn_delivery_set_context(delivery, &peer->started[tag]);
    pn_link_send(link, peer->buffer.start, size);
    if (peer->options->settled) pn_delivery_settle(delivery);  // this also advances the link
    else pn_link_advance(link);
    peer->report.body_bytes += peer->body.size;
}

// Sends as many messages as the credit of the current link, the depth and the limits allow. Reuses the message, its
// pn_data and the buffer.
static void send_burst(Peer *peer) {
    const Options *options = peer->options;
    while (peer->sent < options->count) {
        pn_link_t *link = peer->links[peer->turn];
        if (pn_link_credit(link) <= 0 || pn_session_outgoing_bytes(peer->session) >= OUTGOING) return;
        if (options->command == LATENCY && peer->sent - peer->done >= options->depth) return;
        if (peer->allowance == 0) {
            pn_connection_wake(peer->connection);
            return;
        }
        if (peer->sent == 0) peer->report.first = now();
        peer->allowance--;
        send_message(peer, link);
        if (++peer->turn == options->links) peer->turn = 0;
    }
}

static void settle(Peer *peer, pn_delivery_t *delivery) {
    if (!pn_delivery_updated(delivery)) return;
    if (pn_delivery_remote_state(delivery) != PN_ACCEPTED) {
        fail(peer, "a message was not accepted:", pn_disposition_type_name(pn_delivery_remote_state(delivery)));
        return;
    }
    int64_t *started = pn_delivery_get_context(delivery);
    if (started) *started = now() - *started;
    pn_delivery_settle(delivery);
    if (++peer->done < peer->options->count) return;
    peer->report.last = now();
    finish(peer);
}

static bool read_message(Peer *peer, pn_link_t *link, size_t pending) {
    grow(&peer->buffer, pending);
    ssize_t size = pn_link_recv(link, peer->buffer.start, pending);
    if (size < 0 || pn_message_decode(peer->message, peer->buffer.start, (size_t)size) != 0) return false;
    pn_data_t *properties = pn_message_properties(peer->message);
    pn_data_rewind(properties);
    pn_data_next(properties);
    pn_data_enter(properties);
    pn_data_next(properties);
    pn_data_next(properties);
    pn_data_t *body = pn_message_body(peer->message);
    pn_data_rewind(body);
    pn_data_next(body);
    peer->report.body_bytes += pn_data_get_binary(body).size;
    return pn_data_get_timestamp(properties) != 0 && pn_data_type(body) == PN_BINARY;
}

// Reads every complete message of the link, because one event may represent many messages.
static void receive_all(Peer *peer, pn_link_t *link) {
    pn_delivery_t *delivery;
    while (!peer->finished && (delivery = pn_link_current(link)) && pn_delivery_readable(delivery) &&
           !pn_delivery_partial(delivery)) {
        if (peer->done == 0) peer->report.first = now();
        if (!read_message(peer, link, pn_delivery_pending(delivery))) {
            fail(peer, "a message", "cannot be decoded, or has no property or body");
            return;
        }
        pn_delivery_update(delivery, PN_ACCEPTED);
        pn_link_advance(link);
        pn_delivery_settle(delivery);
        if (++peer->done < peer->options->count) continue;
        peer->report.last = now();
        finish(peer);
        return;
    }
    int missing = peer->options->credit - pn_link_credit(link);
    if (!peer->finished && 2 * missing >= peer->options->credit) pn_link_flow(link, missing);
}

static void open_links(Peer *peer) {
    const Options *options = peer->options;
    peer->session = pn_session(peer->connection);
    pn_session_open(peer->session);
    for (unsigned index = 0; index < options->links; index++) {
        char address[256];
        link_address(options, index, address, sizeof address);
        pn_link_t *link = peer->sending ? pn_sender(peer->session, address) : pn_receiver(peer->session, address);
        pn_terminus_set_address(peer->sending ? pn_link_target(link) : pn_link_source(link), address);
        if (options->settled) pn_link_set_snd_settle_mode(link, PN_SND_SETTLED);
        pn_link_open(link);
        if (peer->sending) peer->links[index] = link;
        else pn_link_flow(link, options->credit);
    }
}

static void start(Peer *peer, pn_connection_t *connection) {
    peer->connection = connection;
    pn_connection_set_container(connection, peer->options->program);
    if (peer->listener) return;
    pn_connection_set_hostname(connection, "localhost");
    pn_connection_open(connection);
    open_links(peer);
}

// For settled messages, the sender knows only that they have left the session and that the receiver has closed.
static void flowed(Peer *peer) {
    send_burst(peer);
    if (peer->options->settled && peer->sent == peer->options->count && peer->report.last == 0 &&
        pn_session_outgoing_bytes(peer->session) == 0)
        peer->report.last = now();
}

static void ended(Peer *peer, const char *what, pn_condition_t *condition) {
    if (peer->report.last != 0 && peer->options->settled && !pn_condition_is_set(condition)) {
        peer->done = peer->sent;
        finish(peer);
    }
    fail(peer, what, reason(condition));
    if (peer->connection) pn_connection_close(peer->connection);
}

static void handle(Peer *peer, pn_event_t *event) {
    pn_link_t *link = pn_event_link(event);
    switch (pn_event_type(event)) {
    case PN_LISTENER_OPEN: say_listening(listener_port(peer->listener)); break;
    case PN_LISTENER_ACCEPT:
        accept_peer(peer->listener, peer->domain);
        pn_listener_close(peer->listener);
        break;
    case PN_LISTENER_CLOSE: {
        pn_condition_t *condition = pn_listener_condition(pn_event_listener(event));
        if (pn_condition_is_set(condition)) fail(peer, "does not listen:", reason(condition));
        break;
    }
    case PN_CONNECTION_INIT: start(peer, pn_event_connection(event)); break;
    case PN_CONNECTION_REMOTE_OPEN: pn_connection_open(peer->connection); break;
    case PN_SESSION_REMOTE_OPEN: pn_session_open(pn_event_session(event)); break;
    case PN_LINK_REMOTE_OPEN:
        if (!(pn_link_state(link) & PN_LOCAL_UNINIT)) break;
        pn_terminus_copy(pn_link_source(link), pn_link_remote_source(link));
        pn_terminus_copy(pn_link_target(link), pn_link_remote_target(link));
        pn_link_open(link);
        if (pn_link_is_receiver(link)) pn_link_flow(link, peer->options->credit);
        break;
    case PN_CONNECTION_WAKE:
        peer->allowance = BURST;
        send_burst(peer);
        break;
    case PN_LINK_FLOW:
        if (peer->sending) flowed(peer);
        break;
    case PN_DELIVERY:
        if (!peer->sending) {
            receive_all(peer, link);
            break;
        }
        settle(peer, pn_event_delivery(event));
        if (peer->options->command == LATENCY) send_burst(peer);
        break;
    case PN_LINK_REMOTE_CLOSE:
    case PN_LINK_REMOTE_DETACH: ended(peer, "link detached:", pn_link_remote_condition(link)); break;
    case PN_SESSION_REMOTE_CLOSE:
        ended(peer, "session ended:", pn_session_remote_condition(pn_event_session(event)));
        break;
    case PN_CONNECTION_REMOTE_CLOSE:
        ended(peer, "connection closed:", pn_connection_remote_condition(peer->connection));
        break;
    case PN_TRANSPORT_CLOSED: {
        peer->connection = NULL;
        fail(peer, "connection lost:", reason(pn_transport_condition(pn_event_transport(event))));
        break;
    }
    default: break;
    }
}

int run_messages(const Options *options) {
    Peer peer = {.options = options, .sending = options->command != RECEIVER, .message = pn_message()};
    pn_message_set_inferred(peer.message, true);  // the body is a data section
    grow(&peer.buffer, 4096);
    if (peer.sending) {
        char *bytes = allocate(options->size);
        memset(bytes, 'x', options->size);
        peer.body = pn_bytes(options->size, bytes);
        peer.links = allocate(options->links * sizeof *peer.links);
    }
    if (options->command == LATENCY) peer.started = allocate(options->count * sizeof *peer.started);
    peer.domain = tls_domain(options);
    peer.proactor = pn_proactor();
    if (peer.sending || options->connecting) connect_to_peer(options, peer.proactor, peer.domain);
    else peer.listener = start_listener(options, peer.proactor);
    for (bool inactive = false; !inactive;) {
        pn_event_batch_t *batch = pn_proactor_wait(peer.proactor);
        peer.allowance = BURST;
        for (pn_event_t *event; (event = pn_event_batch_next(batch));) {
            if (pn_event_type(event) == PN_PROACTOR_INACTIVE) inactive = true;
            else handle(&peer, event);
        }
        pn_proactor_done(peer.proactor, batch);
    }
    peer.report.messages = peer.done;
    peer.report.latencies = peer.started;
    if (!peer.failed) print_report(options, &peer.report);
    pn_proactor_free(peer.proactor);
    if (peer.domain) pn_ssl_domain_free(peer.domain);
    pn_message_free(peer.message);
    free(peer.buffer.start);
    free((void *)peer.body.start);
    free(peer.links);
    free(peer.started);
    return peer.failed ? 1 : 0;
}
