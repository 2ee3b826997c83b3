// SPDX-License-Identifier: Apache-2.0

// The sections of a message, by the accessors of proton::message.
#include "canonical.hpp"

namespace canonical {

using proton::message;

namespace {

proton::value value(const Json &json) {
    proton::value result;
    proton::codec::encoder encoder(result);
    write(encoder, json);
    return result;
}

template <class Map> void set_map(Map &map, const Json &pairs) {
    proton::value result;
    proton::codec::encoder encoder(result);
    write_pairs(encoder, pairs);
    map.value(result);
}

proton::message_id identifier(const Json &json) {
    proton::message_id result;
    proton::codec::decoder decoder(value(json));
    decoder >> result;
    return result;
}

std::string text(const proton::value &value) {
    proton::codec::decoder decoder(value, true);
    return read(decoder);
}

// Collects the members of an object whose values are not empty.
struct Object {
    std::string members;
    void add(const std::string &key, const std::string &json) {
        if (!json.empty()) members += (members.empty() ? "\"" : ",\"") + key + "\":" + json;
    }
    template <class T> void field(const std::string &key, const T &value, bool present) {
        if (present) add(key, text(proton::value(value)));
    }
    std::string json() const { return members.empty() ? "" : "{" + members + "}"; }
};

template <class Map> std::string map(const Map &map) {
    if (map.empty()) return "";
    proton::codec::decoder decoder(map.value(), true);
    return pairs(decoder);
}

std::string body(const message &m) {
    proton::codec::decoder decoder(m.body(), true);
    if (!decoder.more()) return "";
    proton::type_id type = decoder.next_type();
    std::string section = "amqp-value", content;
    if (m.inferred() && type == proton::BINARY) {
        section = "data";
        content = quote(scalar(decoder, type));
    } else if (m.inferred() && type == proton::LIST) {
        section = "amqp-sequence";
        content = items(decoder);
    } else {
        content = read(decoder);
    }
    return "[{\"section\":\"" + section + "\",\"v\":" + content + "}]";
}

} // namespace

std::string print(const message &m) {
    Object header, properties, all;
    header.field("durable", m.durable(), m.durable());
    header.field("priority", m.priority(), m.priority() != 4);
    uint32_t ttl = uint32_t(m.ttl().milliseconds());
    header.field("ttl", ttl, ttl != 0);
    header.field("first-acquirer", m.first_acquirer(), m.first_acquirer());
    header.field("delivery-count", m.delivery_count(), m.delivery_count() != 0);

    properties.field("message-id", m.id(), !m.id().empty());
    properties.field("user-id", proton::binary(m.user()), !m.user().empty());
    properties.field("to", m.to(), !m.to().empty());
    properties.field("subject", m.subject(), !m.subject().empty());
    properties.field("reply-to", m.reply_to(), !m.reply_to().empty());
    properties.field("correlation-id", m.correlation_id(), !m.correlation_id().empty());
    properties.field("content-type", proton::symbol(m.content_type()), !m.content_type().empty());
    properties.field("content-encoding", proton::symbol(m.content_encoding()), !m.content_encoding().empty());
    properties.field("absolute-expiry-time", m.expiry_time(), m.expiry_time().milliseconds() != 0);
    properties.field("creation-time", m.creation_time(), m.creation_time().milliseconds() != 0);
    properties.field("group-id", m.group_id(), !m.group_id().empty());
    properties.field("group-sequence", uint32_t(m.group_sequence()), m.group_sequence() != 0);
    properties.field("reply-to-group-id", m.reply_to_group_id(), !m.reply_to_group_id().empty());

    all.add("header", header.json());
    all.add("delivery-annotations", map(m.delivery_annotations()));
    all.add("message-annotations", map(m.message_annotations()));
    all.add("properties", properties.json());
    all.add("application-properties", map(m.properties()));
    all.add("body", body(m));
    return all.json();
}

message parse(const std::string &line) {
    Json json = Parser(line).value();
    message m;
    if (auto header = json.find("header")) {
        for (auto &[key, field] : header->object) {
            const std::string &v = field["v"].string;
            if (key == "durable") m.durable(v == "true");
            if (key == "priority") m.priority(uint8_t(std::stoul(v)));
            if (key == "ttl") m.ttl(proton::duration(std::stoull(v)));
            if (key == "first-acquirer") m.first_acquirer(v == "true");
            if (key == "delivery-count") m.delivery_count(uint32_t(std::stoul(v)));
        }
    }
    if (auto properties = json.find("properties")) {
        for (auto &[key, field] : properties->object) {
            const std::string &v = field["v"].string;
            if (key == "message-id") m.id(identifier(field));
            if (key == "user-id") m.user(std::string(unhex<proton::binary>(v)));
            if (key == "to") m.to(v);
            if (key == "subject") m.subject(v);
            if (key == "reply-to") m.reply_to(v);
            if (key == "correlation-id") m.correlation_id(identifier(field));
            if (key == "content-type") m.content_type(v);
            if (key == "content-encoding") m.content_encoding(v);
            if (key == "absolute-expiry-time") m.expiry_time(proton::timestamp(std::stoll(v)));
            if (key == "creation-time") m.creation_time(proton::timestamp(std::stoll(v)));
            if (key == "group-id") m.group_id(v);
            if (key == "group-sequence") m.group_sequence(int32_t(std::stoul(v)));
            if (key == "reply-to-group-id") m.reply_to_group_id(v);
        }
    }
    if (auto pairs = json.find("delivery-annotations")) set_map(m.delivery_annotations(), *pairs);
    if (auto pairs = json.find("message-annotations")) set_map(m.message_annotations(), *pairs);
    if (auto pairs = json.find("application-properties")) set_map(m.properties(), *pairs);
    if (auto sections = json.find("body")) {
        if (sections->array.size() != 1) throw std::runtime_error("proton::message holds one body section");
        const Json &section = sections->array[0];
        const std::string &kind = section["section"].string;
        proton::value content;
        proton::codec::encoder encoder(content);
        if (kind == "data") encoder << unhex<proton::binary>(section["v"].string);
        if (kind == "amqp-sequence") write_items(encoder, section["v"]);
        if (kind == "amqp-value") write(encoder, section["v"]);
        m.body(content);
        m.inferred(kind != "amqp-value");
    }
    if (json.find("footer")) throw std::runtime_error("proton::message holds no footer");
    return m;
}

} // namespace canonical
