// SPDX-License-Identifier: Apache-2.0

// An AMQP 1.0 peer on Qpid Proton's C++ library, for interoperability tests. See usage() below.
#include "canonical.hpp"

#include <proton/connection.hpp>
#include <proton/connection_options.hpp>
#include <proton/container.hpp>
#include <proton/delivery.hpp>
#include <proton/error_condition.hpp>
#include <proton/listen_handler.hpp>
#include <proton/listener.hpp>
#include <proton/messaging_handler.hpp>
#include <proton/receiver_options.hpp>
#include <proton/reconnect_options.hpp>
#include <proton/sender_options.hpp>
#include <proton/source.hpp>
#include <proton/source_options.hpp>
#include <proton/ssl.hpp>
#include <proton/target.hpp>
#include <proton/target_options.hpp>
#include <proton/tracker.hpp>
#include <proton/transport.hpp>

#include <csignal>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <unistd.h>

namespace {

const char usage[] = R"(An AMQP 1.0 peer on Qpid Proton's C++ library, for interoperability tests.

  peer send URL ADDRESS       sends the messages of standard input, one per line
  peer receive URL ADDRESS    prints the messages from ADDRESS
  peer listen HOST:PORT       waits for a peer and its links: prints received messages, and sends
                              standard input on the first link whose peer receives

The lines are in the canonical text that README.md defines. proton::message encodes and decodes the
messages, so they have no footer and one body section.

`listen` first prints `listening PORT` on stderr; port 0 selects a free port. The last line on stderr is
a JSON object with the numbers of messages and of each outcome.

The peer ends when all messages are sent and settled, after --count messages, or when the other side
closes. It exits with 1 on any error and at --timeout.

  --count N         end after N received messages
  --credit N        default 100
  --timeout N       seconds; default 30
  --settled         send settled
  --user NAME --password TEXT --mechanism NAME
  --no-sasl         open without a SASL layer
  --ca FILE         PEM: verify the other side with it
  --cert FILE --key FILE
  --max-frame N     bytes
)";

struct Options {
    std::vector<std::string> arguments;
    std::map<std::string, std::string> named;
    bool has(const std::string &key) const { return named.count(key) != 0; }
    std::string text(const std::string &key) const { return has(key) ? named.at(key) : ""; }
    long number(const std::string &key, long otherwise) const { return has(key) ? std::stol(text(key)) : otherwise; }
};

class Peer : public proton::messaging_handler, public proton::listen_handler {
  public:
    std::string error;
    long count = 0;
    std::map<std::string, long> outcomes;

    explicit Peer(const Options &o) : options(o), command(o.arguments[0]), goal(o.number("count", -1)) {}

    void on_container_start(proton::container &container) override {
        const std::string &url = options.arguments[1];
        if (command == "listen") {
            listener = container.listen("//" + url, *this);
        } else {
            if (command == "send") read_messages();
            container.connect(url, connection());
        }
    }

    void on_connection_open(proton::connection &c) override {
        if (command == "send") c.open_sender(options.arguments[2], sender());
        if (command == "receive") c.open_receiver(options.arguments[2], receiver());
        if (command == "listen") c.open(connection());
    }
    void on_open(proton::listener &l) override { std::cerr << "listening " << l.port() << std::endl; }
    proton::connection_options on_accept(proton::listener &) override {
        return connection().handler(*this);
    }
    void on_error(proton::listener &, const std::string &text) override { fail(text); }

    // A link that the other side attaches has the requested termini.
    void on_sender_open(proton::sender &s) override {
        if (command != "listen") return;
        read_messages();
        auto address = s.source().address();
        s.open(sender().source(proton::source_options().address(address)));
    }
    void on_receiver_open(proton::receiver &r) override {
        if (command != "listen") return;
        r.open(receiver().target(proton::target_options().address(r.target().address())));
    }

    void on_sendable(proton::sender &s) override {
        while (s.credit() > 0 && !unsent.empty()) {
            s.send(unsent.front());
            unsent.pop_front();
            if (options.has("settled")) settled(s.connection(), "presettled");
        }
    }
    void on_tracker_accept(proton::tracker &t) override { settled(t.connection(), to_string(t.state())); }
    void on_tracker_reject(proton::tracker &t) override { settled(t.connection(), to_string(t.state())); }
    void on_tracker_release(proton::tracker &t) override { settled(t.connection(), to_string(t.state())); }

    void on_message(proton::delivery &d, proton::message &m) override {
        if (goal >= 0 && count >= goal) return;
        try {
            std::cout << canonical::print(m) << std::endl;
        } catch (const std::exception &e) {
            return end(d.connection(), std::string("cannot print a message: ") + e.what());
        }
        d.accept();
        settled(d.connection(), "accepted");
    }

    void on_connection_close(proton::connection &c) override {
        if (goal >= 0 && count < goal) fail("connection closed after " + std::to_string(count) + " messages");
        c.close();
    }
    void on_transport_close(proton::transport &) override {
        if (command == "listen") listener.stop();
    }
    void on_error(const proton::error_condition &condition) override { fail(condition.what()); }
    void on_transport_error(proton::transport &t) override {
        if (goal < 0 || count < goal) fail("transport: " + t.error().what());
    }
    void on_connection_error(proton::connection &c) override { fail("connection closed: " + c.error().what()); }
    void on_session_error(proton::session &s) override { end(s.connection(), "session ended: " + s.error().what()); }
    void on_sender_error(proton::sender &s) override { end(s.connection(), "link detached: " + s.error().what()); }
    void on_receiver_error(proton::receiver &r) override { end(r.connection(), "link detached: " + r.error().what()); }

  private:
    const Options &options;
    std::string command;
    long goal;
    proton::listener listener;
    std::deque<proton::message> unsent;

    void read_messages() {
        std::string line;
        while (std::getline(std::cin, line)) unsent.push_back(canonical::parse(line));
        goal = long(unsent.size());
        if (unsent.empty()) throw std::runtime_error("no messages on standard input");
    }
    proton::sender_options sender() {
        proton::sender_options result;
        if (options.has("settled")) result.delivery_mode(proton::delivery_mode::AT_MOST_ONCE);
        return result;
    }
    proton::receiver_options receiver() {
        return proton::receiver_options().credit_window(int(options.number("credit", 100))).auto_accept(false);
    }
    proton::connection_options connection() {
        proton::connection_options result;
        if (options.has("max-frame")) result.max_frame_size(uint32_t(options.number("max-frame", 0)));
        result.sasl_enabled(!options.has("no-sasl")).sasl_allow_insecure_mechs(true);
        if (options.has("mechanism")) result.sasl_allowed_mechs(options.text("mechanism"));
        if (options.has("user")) result.user(options.text("user")).password(options.text("password"));
        proton::ssl_certificate certificate(options.text("cert"), options.text("key"));
        if (command == "listen") {
            const std::string ca = options.text("ca");
            if (options.has("ca"))
                result.ssl_server_options({certificate, ca, ca, proton::ssl::VERIFY_PEER});
            else if (options.has("cert"))
                result.ssl_server_options(proton::ssl_server_options(certificate));
        } else if (options.has("cert")) {
            result.ssl_client_options({certificate, options.text("ca"), proton::ssl::VERIFY_PEER_NAME});
        } else if (options.has("ca")) {
            result.ssl_client_options({options.text("ca"), proton::ssl::VERIFY_PEER_NAME});
        }
        return result;
    }
    void settled(proton::connection connection, const std::string &outcome) {
        ++outcomes[outcome];
        if (++count == goal) connection.close();
    }
    void fail(const std::string &text) {
        if (error.empty()) error = text;
    }
    void end(proton::connection connection, const std::string &text) {
        fail(text);
        connection.close();
    }
};

Options parse(int argc, char **argv) {
    Options result;
    for (int i = 1; i < argc; ++i) {
        std::string argument = argv[i];
        if (argument == "-h" || argument == "--help") {
            std::cout << usage;
            std::exit(0);
        } else if (argument.rfind("--", 0) != 0) {
            result.arguments.push_back(argument);
        } else if (argument == "--settled" || argument == "--no-sasl") {
            result.named[argument.substr(2)] = "";
        } else if (i + 1 < argc) {
            result.named[argument.substr(2)] = argv[++i];
        }
    }
    const std::string command = result.arguments.empty() ? "" : result.arguments[0];
    const size_t wanted = command == "listen" ? 2 : command == "send" || command == "receive" ? 3 : 0;
    if (result.arguments.size() != wanted || wanted == 0) {
        std::cerr << usage;
        std::exit(1);
    }
    return result;
}

} // namespace

int main(int argc, char **argv) {
    Options options = parse(argc, argv);
    // Not container.schedule(), because a scheduled task keeps the container running until it is due.
    std::signal(SIGALRM, [](int) {
        static const char text[] = "peer: timed out\n";
        if (write(STDERR_FILENO, text, sizeof text - 1)) {}
        _exit(1);
    });
    alarm(unsigned(options.number("timeout", 30)));
    Peer peer(options);
    try {
        proton::container(peer).run();
    } catch (const std::exception &e) {
        if (peer.error.empty()) peer.error = e.what();
    }
    std::cerr << "{\"messages\": " << peer.count;
    for (auto &[outcome, number] : peer.outcomes) std::cerr << ", \"" << outcome << "\": " << number;
    std::cerr << "}" << std::endl;
    if (!peer.error.empty()) std::cerr << "peer: " << peer.error << std::endl;
    return peer.error.empty() ? 0 : 1;
}
