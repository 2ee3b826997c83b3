/* SPDX-License-Identifier: Apache-2.0 */

// The reference of the benchmark: C on Proton's pn_proactor, with pn_message, optimised for speed. This file has its
// start and its connections; c_messages.c, c_connections.c and c_codec.c have the commands.
#include "c_proactor.h"

#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/listener.h>
#include <proton/netaddr.h>
#include <proton/sasl.h>
#include <proton/transport.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pn_ssl_domain_t *tls_domain(const Options *options) {
    if (!options->tls) return NULL;
    pn_ssl_domain_t *domain = pn_ssl_domain(options->authority ? PN_SSL_MODE_CLIENT : PN_SSL_MODE_SERVER);
    // By default a client verifies the certificate and its name.
    int code = options->authority ? pn_ssl_domain_set_trusted_ca_db(domain, options->authority)
                                  : pn_ssl_domain_set_credentials(domain, options->certificate, options->key, NULL);
    if (code == 0) return domain;
    complain(options->program, "--tls: the files cannot be used");
    exit(1);
}

// Without a limit on frames, the transport's buffers grow to the size of the largest message. Messages of 10 KiB and
// 1 MiB are then 10 to 20 % slower.
enum { FRAME = 256 * 1024 };

static pn_transport_t *new_transport(pn_ssl_domain_t *domain, bool is_server) {
    pn_transport_t *transport = pn_transport();
    pn_transport_set_max_frame(transport, FRAME);
    if (is_server) pn_transport_set_server(transport);  // before pn_sasl
    pn_sasl_allowed_mechs(pn_sasl(transport), "ANONYMOUS");
    if (domain) pn_ssl_init(pn_ssl(transport), domain, NULL);
    // The name in the certificate: Proton compares only names, not addresses.
    if (domain && !is_server) pn_ssl_set_peer_hostname(pn_ssl(transport), "localhost");
    return transport;
}

void connect_to_peer(const Options *options, pn_proactor_t *proactor, pn_ssl_domain_t *domain) {
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", options->port);
    pn_proactor_connect2(proactor, NULL, new_transport(domain, false), address);
}

pn_listener_t *start_listener(const Options *options, pn_proactor_t *proactor) {
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", options->port);
    pn_listener_t *listener = pn_listener();
    pn_proactor_listen(proactor, listener, address, 1024);
    return listener;
}

void accept_peer(pn_listener_t *listener, pn_ssl_domain_t *domain) {
    pn_listener_accept2(listener, NULL, new_transport(domain, true));
}

int listener_port(pn_listener_t *listener) {
    char port[16] = "";
    pn_netaddr_host_port(pn_listener_addr(listener), NULL, 0, port, sizeof port);
    return atoi(port);
}

const char *reason(pn_condition_t *condition) {
    const char *text = pn_condition_get_description(condition);
    if (!text) text = pn_condition_get_name(condition);
    return text ? text : "no reason given";
}

int main(int argc, char **argv) {
    Options options = read_options(argc, argv, "c-proactor", EVERY_COMMAND | WITH_TLS | WITH_CONNECT);
    if (options.command == CODEC) return run_codec(&options);
    if (options.command & (CONNECT | IDLE | LISTEN)) return run_connections(&options);
    return run_messages(&options);
}
