// SPDX-License-Identifier: Apache-2.0

// The benchmark's contender on Proton's C++ library, in the style of its users: proton::messaging_handler, a credit
// window, the library accepts messages, and on_sendable sends as many as the credit allows. This file has its start and
// the commands receiver, sender and latency.
#include "proton_cpp.hpp"

#include <proton/binary.hpp>
#include <proton/delivery.hpp>
#include <proton/delivery_mode.hpp>
#include <proton/message.hpp>
#include <proton/receiver.hpp>
#include <proton/receiver_options.hpp>
#include <proton/scalar.hpp>
#include <proton/sender.hpp>
#include <proton/sender_options.hpp>
#include <proton/target.hpp>
#include <proton/target_options.hpp>
#include <proton/timestamp.hpp>
#include <proton/tracker.hpp>

#include <cstring>
#include <stdexcept>
#include <vector>

namespace {

class Receiver : public Peer {
  public:
    explicit Receiver(const Options &options) : Peer(options) {}

    void on_container_start(proton::container &container) override {
        container.receiver_options(proton::receiver_options().credit_window(options.credit).auto_accept(true));
        if (!options.connecting) {
            listen(container);
            return;
        }
        char address[256];
        link_address(&options, 0, address, sizeof address);
        connect(container).open_receiver(address);
    }

    void on_connection_open(proton::connection &connection) override {
        stop_listening();
        proton::messaging_handler::on_connection_open(connection);
    }

    void on_receiver_open(proton::receiver &receiver) override {
        if (!receiver.uninitialized()) return;
        receiver.open(proton::receiver_options()
                          .credit_window(options.credit)
                          .auto_accept(true)
                          .target(proton::target_options().address(receiver.target().address())));
    }

    void on_receiver_close(proton::receiver &receiver) override {
        fail("the link was closed early");
        receiver.connection().close();
    }

    void on_message(proton::delivery &delivery, proton::message &message) override {
        if (finished) return;
        if (report.messages == 0) report.first = now();
        const auto sent = proton::get<proton::timestamp>(message.properties().get("sent"));
        const auto &body = proton::get<proton::binary>(message.body());
        if (sent.milliseconds() == 0) throw std::runtime_error("a message without its property");
        report.body_bytes += body.size();
        if (++report.messages < options.count) return;
        delivery.accept();  // before the connection is closed
        report.last = now();
        finish(delivery.connection());
    }
};

class Sender : public Peer {
  public:
    explicit Sender(const Options &options) : Peer(options), body(std::string(options.size, 'x')) {
        message.inferred(true);  // the body is a data section
        if (options.command == LATENCY) started.resize(options.count);
    }

    void on_container_start(proton::container &container) override {
        auto connection = connect(container);
        auto mode = options.settled ? proton::delivery_mode::AT_MOST_ONCE : proton::delivery_mode::AT_LEAST_ONCE;
        for (unsigned index = 0; index < options.links; index++) {
            char address[256];
            link_address(&options, index, address, sizeof address);
            senders.push_back(connection.open_sender(address, proton::sender_options().delivery_mode(mode)));
        }
    }

    void on_sendable(proton::sender &) override { send(); }

    void on_tracker_accept(proton::tracker &tracker) override {
        if (options.command == LATENCY) {
            uint64_t number;
            std::memcpy(&number, tracker.tag().data(), sizeof number);
            started[number] = now() - started[number];
        }
        if (++report.messages == options.count) {
            report.last = now();
            finish(tracker.connection());
        } else if (options.command == LATENCY) {
            send();
        }
    }

    void on_tracker_reject(proton::tracker &tracker) override { refuse(tracker); }
    void on_tracker_release(proton::tracker &tracker) override { refuse(tracker); }

    void on_sender_close(proton::sender &sender) override { end(sender.connection()); }
    void on_connection_close(proton::connection &connection) override { end(connection); }

  private:
    std::vector<proton::sender> senders;
    proton::message message;
    proton::binary body, tag = proton::binary(std::string(sizeof(uint64_t), 0));
    uint64_t sent = 0;
    size_t turn = 0;
    std::vector<int64_t> started;  // indexed by the number of the message; its latency after the settlement

    // For settled messages, the sender knows only that the receiver has closed.
    void end(proton::connection connection) {
        if (options.settled && sent == options.count && !finished && !failed) {
            report.messages = sent;
            report.last = now();  // the library does not report when the last message is written
            finished = true;
        }
        fail("the connection or its link was closed early");
        connection.close();
    }

    void refuse(proton::tracker &tracker) {
        fail("a message was not accepted");
        tracker.connection().close();
    }

    void send() {
        while (sent < options.count && senders[turn].credit() > 0 &&
               (options.command != LATENCY || sent - report.messages < options.depth)) {
            if (sent == 0) report.first = now();
            if (options.command == LATENCY) {
                std::memcpy(tag.data(), &sent, sizeof sent);
                started[sent] = now();
            }
            message.properties().put("sent", proton::timestamp(wall_clock()));
            message.body(body);
            if (options.command == LATENCY) senders[turn].send(message, tag);
            else senders[turn].send(message);
            report.body_bytes += options.size;
            if (++turn == senders.size()) turn = 0;
            sent++;
        }
        report.latencies = started.data();
    }
};

int run(const Options &options) {
    if (options.command == CODEC) return run_codec(options);
    if (options.command & (CONNECT | IDLE | LISTEN)) return run_connections(options);
    if (options.command == RECEIVER) return Receiver(options).run();
    return Sender(options).run();
}

}  // namespace

int main(int argc, char **argv) {
    Options options = read_options(argc, argv, "cpp", EVERY_COMMAND | WITH_TLS | WITH_CONNECT);
    try {
        return run(options);
    } catch (const std::exception &error) {
        complain(options.program, "%s", error.what());
        return 1;
    }
}
