// SPDX-License-Identifier: Apache-2.0

// The parts of the benchmark's contender in C++.
#ifndef BENCHMARK_PROTON_CPP_HPP
#define BENCHMARK_PROTON_CPP_HPP

#include "common.h"

#include <proton/connection.hpp>
#include <proton/connection_options.hpp>
#include <proton/container.hpp>
#include <proton/error_condition.hpp>
#include <proton/listen_handler.hpp>
#include <proton/listener.hpp>
#include <proton/messaging_handler.hpp>
#include <proton/receiver.hpp>
#include <proton/sender.hpp>
#include <proton/ssl.hpp>
#include <proton/transport.hpp>

#include <exception>
#include <string>

// Each function runs one kind of command and returns the exit code.
int run_connections(const Options &options);  // connect, idle, listen
int run_codec(const Options &options);        // codec

// The common parts of the commands: connecting, listening and ending.
class Peer : public proton::messaging_handler, public proton::listen_handler {
  public:
    explicit Peer(const Options &options) : options(options) {
        settings.sasl_allowed_mechs("ANONYMOUS");
        if (options.authority) {
            settings.ssl_client_options(proton::ssl_client_options(options.authority));
            // The name in the certificate: the library compares only names, not addresses.
            settings.virtual_host("localhost");
        } else if (options.tls) {
            const proton::ssl_certificate certificate(options.certificate, options.key);
            settings.ssl_server_options(proton::ssl_server_options(certificate));
        }
    }

    int run() {
        try {
            proton::container(*this, options.program).run();
        } catch (const std::exception &error) {
            is_listening = false;
            fail(error.what());
        }
        if (!failed && !reported) print_report(&options, &report);
        return failed ? 1 : 0;
    }

  protected:
    const Options options;
    Report report = {};
    bool failed = false, finished = false, reported = false;

    void fail(const std::string &reason) {
        if (failed || finished) return;
        failed = true;
        stop_listening();
        complain(options.program, "%s", reason.c_str());
    }

    void finish(proton::connection connection) {
        finished = true;
        connection.close();
    }

    proton::connection connect(proton::container &container) {
        return container.connect("//127.0.0.1:" + std::to_string(options.port), settings);
    }

    void listen(proton::container &container) {
        listener = container.listen("//127.0.0.1:" + std::to_string(options.port), *this);
        is_listening = true;
    }

    void stop_listening() {
        if (is_listening) listener.stop();
        is_listening = false;
    }

    void on_open(proton::listener &opened) override { say_listening(opened.port()); }
    void on_error(proton::listener &, const std::string &reason) override { fail(reason); }

    proton::connection_options on_accept(proton::listener &) override { return settings; }

    // Called for a close with an error and for a lost connection.
    void on_error(const proton::error_condition &error) override { fail(error.what()); }
    void on_connection_error(proton::connection &connection) override { fail(connection.error().what()); }
    void on_sender_error(proton::sender &sender) override { fail(sender.error().what()); }
    void on_receiver_error(proton::receiver &receiver) override { fail(receiver.error().what()); }
    void on_transport_close(proton::transport &) override { fail("the connection was closed early"); }

  private:
    proton::connection_options settings;  // created once, because reading the certificates is slow
    proton::listener listener;
    bool is_listening = false;
};

#endif
