// SPDX-License-Identifier: Apache-2.0

// Converts between proton::message and the canonical text of README.md.
#pragma once

#include <proton/codec/decoder.hpp>
#include <proton/codec/encoder.hpp>
#include <proton/message.hpp>
#include <proton/types.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace canonical {

// The part of JSON that the canonical text uses: strings, arrays and objects, without spaces.
struct Json {
    std::string string;
    std::vector<Json> array;
    std::vector<std::pair<std::string, Json>> object;

    const Json *find(const std::string &key) const {
        for (auto &member : object)
            if (member.first == key) return &member.second;
        return nullptr;
    }
    const Json &operator[](const std::string &key) const {
        if (auto found = find(key)) return *found;
        throw std::runtime_error("no \"" + key + "\"");
    }
};

class Parser {
  public:
    explicit Parser(const std::string &line) : text(line) {}
    Json value() {
        Json result;
        if (peek() == '"') {
            result.string = string();
        } else if (take('[')) {
            if (take(']')) return result;
            do result.array.push_back(value());
            while (take(','));
            expect(']');
        } else {
            expect('{');
            if (take('}')) return result;
            do {
                std::string key = string();
                expect(':');
                result.object.emplace_back(key, value());
            } while (take(','));
            expect('}');
        }
        return result;
    }

  private:
    const std::string &text;
    size_t at = 0;

    char peek() { return at < text.size() ? text[at] : '\0'; }
    bool take(char c) { return peek() == c ? ++at, true : false; }
    void expect(char c) {
        if (!take(c)) throw std::runtime_error("expected " + std::string(1, c) + " at byte " + std::to_string(at));
    }
    std::string string() {
        std::string result;
        expect('"');
        while (peek() != '"') {
            if (at >= text.size()) throw std::runtime_error("the string does not end");
            char c = text[at++];
            if (c != '\\') {
                result += c;
                continue;
            }
            c = text.at(at++);
            static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
            if (c == 'u') {
                result += char(std::stoi(text.substr(at, 4), nullptr, 16));
                at += 4;
            } else if (auto found = std::strchr(from, c)) {
                result += to[found - from];
            } else {
                result += c;
            }
        }
        expect('"');
        return result;
    }
};

inline std::string quote(const std::string &text) {
    std::string result = "\"";
    for (char c : text) {
        static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
        auto found = c ? std::strchr(from, c) : nullptr;
        if (found) {
            result += {'\\', to[found - from]};
        } else if (uint8_t(c) < 0x20) {
            char escape[7];
            std::snprintf(escape, sizeof escape, "\\u%04x", c);
            result += escape;
        } else {
            result += c;
        }
    }
    return result + "\"";
}

template <class Bytes> std::string hex(const Bytes &bytes) {
    std::string result;
    for (uint8_t byte : bytes) result += {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    return result;
}

template <class Bytes> Bytes unhex(const std::string &text) {
    Bytes result;
    if constexpr (std::is_same_v<Bytes, proton::binary>) result.resize(text.size() / 2);
    if (text.size() != size_t(std::distance(result.begin(), result.end())) * 2) throw std::runtime_error("bad hex");
    size_t at = 0;
    for (auto &byte : result) byte = uint8_t(std::stoi(text.substr(2 * at++, 2), nullptr, 16));
    return result;
}

// Proton's C++ library stores a decimal32 or decimal64 in the byte order of the machine.
template <class Decimal> Decimal turned(Decimal decimal) {
    const uint16_t one = 1;
    if (*reinterpret_cast<const uint8_t *>(&one) == 1) std::reverse(decimal.begin(), decimal.end());
    return decimal;
}

// Returns the bits of a float or double in hexadecimal, most significant first.
template <class Bits, class Float> std::string bits(Float x) {
    Bits b;
    std::memcpy(&b, &x, sizeof b);
    char text[2 * sizeof b + 1];
    std::snprintf(text, sizeof text, "%0*llx", int(2 * sizeof b), static_cast<unsigned long long>(b));
    return text;
}
template <class Float, class Bits> Float unbits(const std::string &text) {
    Bits b = Bits(std::stoull(text, nullptr, 16));
    Float x;
    std::memcpy(&x, &b, sizeof x);
    return x;
}

inline std::string name(proton::type_id type) { return type == proton::NULL_TYPE ? "null" : proton::type_name(type); }

inline proton::type_id type(const std::string &text) {
    for (int id = proton::NULL_TYPE; id <= proton::MAP; ++id)
        if (name(proton::type_id(id)) == text) return proton::type_id(id);
    throw std::runtime_error("no type " + text);
}

template <class T> T next(proton::codec::decoder &d) {
    T x{};
    d >> x;
    return x;
}

inline std::string join(const std::vector<std::string> &items) {
    std::string result;
    for (auto &item : items) result += (result.empty() ? "" : ",") + item;
    return "[" + result + "]";
}

inline std::string read(proton::codec::decoder &d);

// Returns the pairs of the next value, a map.
inline std::string pairs(proton::codec::decoder &d) {
    std::vector<std::string> items;
    proton::codec::start start;
    d >> start;
    for (size_t i = 0; i < start.size / 2; ++i) {
        std::string key = read(d);
        items.push_back("[" + key + "," + read(d) + "]");
    }
    d >> proton::codec::finish();
    return join(items);
}

// Returns the items of the next value, a list.
inline std::string items(proton::codec::decoder &d) {
    std::vector<std::string> items;
    proton::codec::start start;
    d >> start;
    while (d.more()) items.push_back(read(d));
    d >> proton::codec::finish();
    return join(items);
}

inline std::string scalar(proton::codec::decoder &d, proton::type_id type) {
    switch (type) {
    case proton::BOOLEAN: return next<bool>(d) ? "true" : "false";
    case proton::UBYTE: return std::to_string(next<uint8_t>(d));
    case proton::BYTE: return std::to_string(next<int8_t>(d));
    case proton::USHORT: return std::to_string(next<uint16_t>(d));
    case proton::SHORT: return std::to_string(next<int16_t>(d));
    case proton::UINT: return std::to_string(next<uint32_t>(d));
    case proton::INT: return std::to_string(next<int32_t>(d));
    case proton::ULONG: return std::to_string(next<uint64_t>(d));
    case proton::LONG: return std::to_string(next<int64_t>(d));
    case proton::CHAR: return std::to_string(uint32_t(next<wchar_t>(d)));
    case proton::TIMESTAMP: return std::to_string(next<proton::timestamp>(d).milliseconds());
    case proton::FLOAT: return bits<uint32_t>(next<float>(d));
    case proton::DOUBLE: return bits<uint64_t>(next<double>(d));
    case proton::DECIMAL32: return hex(turned(next<proton::decimal32>(d)));
    case proton::DECIMAL64: return hex(turned(next<proton::decimal64>(d)));
    case proton::DECIMAL128: return hex(next<proton::decimal128>(d));
    case proton::UUID: return hex(next<proton::uuid>(d));
    case proton::BINARY: return hex(next<proton::binary>(d));
    case proton::STRING: return next<std::string>(d);
    case proton::SYMBOL: return next<proton::symbol>(d);
    default: throw std::runtime_error("no scalar: " + name(type));
    }
}

// Returns the canonical text of the next value.
inline std::string read(proton::codec::decoder &d) {
    proton::type_id type = d.next_type();
    std::string head = "{\"t\":\"" + name(type) + "\"";
    if (type == proton::NULL_TYPE) {
        next<proton::value>(d);  // proton::null would not advance the decoder
        return head + "}";
    }
    if (type == proton::LIST) return head + ",\"v\":" + items(d) + "}";
    if (type == proton::MAP) return head + ",\"v\":" + pairs(d) + "}";
    if (type != proton::ARRAY && type != proton::DESCRIBED) return head + ",\"v\":" + quote(scalar(d, type)) + "}";
    proton::codec::start start;
    d >> start;
    if (type == proton::ARRAY) head += ",\"of\":\"" + name(start.element) + "\"";
    if (start.is_described) head += ",\"descriptor\":" + read(d);
    head += ",\"v\":";
    if (type == proton::DESCRIBED) {
        head += read(d);
    } else {
        std::vector<std::string> items;
        while (d.more()) items.push_back(read(d));
        head += join(items);
    }
    d >> proton::codec::finish();
    return head + "}";
}

inline void write_scalar(proton::codec::encoder &e, proton::type_id type, const std::string &v) {
    switch (type) {
    case proton::BOOLEAN: e << (v == "true"); break;
    case proton::UBYTE: e << uint8_t(std::stoul(v)); break;
    case proton::BYTE: e << int8_t(std::stol(v)); break;
    case proton::USHORT: e << uint16_t(std::stoul(v)); break;
    case proton::SHORT: e << int16_t(std::stol(v)); break;
    case proton::UINT: e << uint32_t(std::stoul(v)); break;
    case proton::INT: e << int32_t(std::stol(v)); break;
    case proton::ULONG: e << uint64_t(std::stoull(v)); break;
    case proton::LONG: e << int64_t(std::stoll(v)); break;
    case proton::CHAR: e << wchar_t(std::stoul(v)); break;
    case proton::TIMESTAMP: e << proton::timestamp(std::stoll(v)); break;
    case proton::FLOAT: e << unbits<float, uint32_t>(v); break;
    case proton::DOUBLE: e << unbits<double, uint64_t>(v); break;
    case proton::DECIMAL32: e << turned(unhex<proton::decimal32>(v)); break;
    case proton::DECIMAL64: e << turned(unhex<proton::decimal64>(v)); break;
    case proton::DECIMAL128: e << unhex<proton::decimal128>(v); break;
    case proton::UUID: e << unhex<proton::uuid>(v); break;
    case proton::BINARY: e << unhex<proton::binary>(v); break;
    case proton::STRING: e << v; break;
    case proton::SYMBOL: e << proton::symbol(v); break;
    default: throw std::runtime_error("no scalar: " + name(type));
    }
}

inline void write(proton::codec::encoder &e, const Json &value);

inline void write_pairs(proton::codec::encoder &e, const Json &pairs) {
    e << proton::codec::start::map();
    for (auto &pair : pairs.array)
        for (auto &each : pair.array) write(e, each);
    e << proton::codec::finish();
}

inline void write_items(proton::codec::encoder &e, const Json &items) {
    e << proton::codec::start::list();
    for (auto &item : items.array) write(e, item);
    e << proton::codec::finish();
}

inline void write(proton::codec::encoder &e, const Json &value) {
    proton::type_id id = type(value["t"].string);
    if (id == proton::NULL_TYPE) {
        e << proton::null();
    } else if (id == proton::LIST) {
        write_items(e, value["v"]);
    } else if (id == proton::MAP) {
        write_pairs(e, value["v"]);
    } else if (id == proton::DESCRIBED) {
        e << proton::codec::start::described();
        write(e, value["descriptor"]);
        write(e, value["v"]);
        e << proton::codec::finish();
    } else if (id == proton::ARRAY) {
        auto descriptor = value.find("descriptor");
        e << proton::codec::start::array(type(value["of"].string), descriptor != nullptr);
        if (descriptor) write(e, *descriptor);
        for (auto &item : value["v"].array) write(e, item);
        e << proton::codec::finish();
    } else {
        write_scalar(e, id, value["v"].string);
    }
}

proton::message parse(const std::string &line);
std::string print(const proton::message &message);

} // namespace canonical
