// SPDX-License-Identifier: Apache-2.0

// The C++ contender's codec command, with only proton::message.
#include "proton_cpp.hpp"

#include <proton/binary.hpp>
#include <proton/codec/map.hpp>
#include <proton/map.hpp>
#include <proton/message.hpp>
#include <proton/message_id.hpp>
#include <proton/scalar.hpp>
#include <proton/timestamp.hpp>
#include <proton/value.hpp>

#include <cstdio>
#include <map>
#include <vector>

namespace {

using Map = std::map<std::string, proton::scalar>;

const std::string sixteen = "sixteen letters!";

proton::message make_message() {
    proton::message message;
    message.id(uint64_t(1234567890123));
    message.user("benchmark");
    message.to("bench-0");
    message.subject("measurement");
    message.reply_to("bench-replies");
    message.correlation_id("correlation-0001");
    message.content_type("application/octet-stream");
    message.creation_time(proton::timestamp(1700000000000));
    for (int index = 0; index < 5; index++) message.properties().put("string-" + std::to_string(index), sixteen);
    for (int index = 0; index < 3; index++) message.properties().put("int-" + std::to_string(index), 1000000 + index);
    message.properties().put("double-0", 3.14159);
    message.properties().put("bool-0", true);
    message.inferred(true);  // the body is a data section
    message.body(proton::binary(std::string(1024, 'x')));
    return message;
}

proton::message make_map() {
    Map entries;
    for (int index = 0; index < 100; index++) {
        char key[16];
        std::snprintf(key, sizeof key, "key-%02d", index);
        switch (index % 4) {
        case 0: entries[key] = 1000000 + index; break;
        case 1: entries[key] = sixteen; break;
        case 2: entries[key] = index + 0.5; break;
        default: entries[key] = index % 8 == 3;
        }
    }
    proton::message message;
    message.body(entries);
    return message;
}

// Reads every field into C++ types, so that the measurement includes all decoding.
uint64_t read_everything(proton::message &message, bool is_map, Map &entries) {
    if (is_map) {
        entries.clear();
        proton::get(message.body(), entries);
        return entries.size();
    }
    uint64_t sum = proton::get<uint64_t>(message.id()) + message.user().size() + message.to().size() +
                   message.subject().size() + message.reply_to().size() + message.content_type().size() +
                   proton::get<std::string>(message.correlation_id()).size() +
                   uint64_t(message.creation_time().milliseconds()) +
                   proton::get<proton::binary>(message.body()).size();
    std::map<std::string, proton::scalar> properties;
    proton::get(message.properties().value(), properties);
    return sum + properties.size();
}

}  // namespace

int run_codec(const Options &options) {
    const bool is_map = std::string(options.codec) == "map";
    proton::message message = is_map ? make_map() : make_message(), decoded;
    std::vector<char> buffer;
    Map entries;
    Report report = {};

    int64_t start = now();
    for (uint64_t round = 0; round < options.count; round++) message.encode(buffer);
    int64_t middle = now();
    for (uint64_t round = 0; round < options.count; round++) {
        decoded.clear();
        decoded.decode(buffer);
    }
    int64_t third = now();
    uint64_t sum = 0, expected = 0;
    for (uint64_t round = 0; round < options.count; round++) {
        decoded.clear();
        decoded.decode(buffer);
        sum += read_everything(decoded, is_map, entries);
    }
    report.read = double(now() - third) / double(options.count);
    report.decode = double(third - middle) / double(options.count);
    report.encode = double(middle - start) / double(options.count);
    report.encoded_bytes = buffer.size();
    expected = read_everything(message, is_map, entries);
    if (sum == expected * options.count) {
        print_report(&options, &report);
        return 0;
    }
    complain(options.program, "the decoded message differs from the encoded one");
    return 1;
}
