/* SPDX-License-Identifier: Apache-2.0 */

// The parts of c-proactor.
#ifndef BENCHMARK_C_PROACTOR_H
#define BENCHMARK_C_PROACTOR_H

#include "common.h"

#include <proton/proactor.h>
#include <proton/ssl.h>

// Each function runs one kind of command and returns the exit code.
int run_messages(const Options *options);     // receiver, sender, latency
int run_connections(const Options *options);  // connect, idle, listen
int run_codec(const Options *options);        // codec

// Returns the TLS domain for --tls; NULL without --tls. Ends the program if the files are unusable.
pn_ssl_domain_t *tls_domain(const Options *options);

void connect_to_peer(const Options *options, pn_proactor_t *proactor, pn_ssl_domain_t *domain);
pn_listener_t *start_listener(const Options *options, pn_proactor_t *proactor);
void accept_peer(pn_listener_t *listener, pn_ssl_domain_t *domain);
int listener_port(pn_listener_t *listener);

// Returns the name and the description of a condition, or a substitute.
const char *reason(pn_condition_t *condition);

#endif
