// SPDX-License-Identifier: Apache-2.0

// The C++ contender's commands connect, idle and listen.
#include "proton_cpp.hpp"

#include <cstdlib>
#include <thread>

namespace {

class Connections : public Peer {
  public:
    explicit Connections(const Options &options) : Peer(options) {}

    void on_container_start(proton::container &container) override {
        report.resident_before = resident_bytes();
        report.first = now();
        // The held connections are not closed in order.
        if (options.command != CONNECT) std::thread([this] { wait_and_exit(); }).detach();
        if (options.command == LISTEN) listen(container);
        else connect_next(container);
    }

    void on_connection_open(proton::connection &connection) override {
        open++;
        switch (options.command) {
        case CONNECT: connection.close(); break;
        case IDLE:
            if (open < options.count) connect_next(connection.container());
            else report_held();
            break;
        default:
            connection.open();
            if (open == options.count && !reported) report_held();
        }
    }

    void on_connection_close(proton::connection &) override { is_complete = true; }

    void on_transport_close(proton::transport &transport) override {
        open--;
        if (options.command == LISTEN) return;
        if (options.command == IDLE || !is_complete) {
            fail("a connection was closed early");
            if (options.command == IDLE) std::_Exit(1);
            return;
        }
        is_complete = false;
        report.last = now();
        report.connections++;
        if (started < options.count) connect_next(transport.connection().container());
        else finished = true;
    }

    void on_transport_error(proton::transport &transport) override {
        if (options.command != LISTEN) fail(transport.error().what());
    }

  private:
    uint64_t started = 0, open = 0;
    bool is_complete = false;

    void connect_next(proton::container &container) {
        started++;
        connect(container);
    }

    void report_held() {
        report.connections = open;
        report.resident_after = resident_bytes();
        print_report(&options, &report);
        reported = true;
    }

    void wait_and_exit() {
        wait_for_end_of_input();
        bool is_short = options.count > 0 && !reported;
        if (is_short) complain(options.program, "standard input ended before all connections were open");
        std::_Exit(is_short ? 1 : 0);
    }
};

}  // namespace

int run_connections(const Options &options) {
    allow_many_files();
    return Connections(options).run();
}
