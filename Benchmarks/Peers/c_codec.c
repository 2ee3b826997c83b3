/* SPDX-License-Identifier: Apache-2.0 */

// c-proactor's codec command, with only pn_message.
#include "c_proactor.h"

#include <proton/codec.h>
#include <proton/message.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY = 1024, ENTRIES = 100, STRINGS = 5, INTEGERS = 3, LARGEST = 16 * 1024 };

static pn_bytes_t bytes(const char *text) { return pn_bytes(strlen(text), text); }

static void put_property(pn_data_t *data, const char *kind, int index) {
    char key[32];
    snprintf(key, sizeof key, "%s-%d", kind, index);
    pn_data_put_string(data, bytes(key));
}

static void fill_message(pn_message_t *message) {
    pn_data_put_ulong(pn_message_id(message), 1234567890123);
    pn_message_set_user_id(message, bytes("benchmark"));
    pn_message_set_address(message, "bench-0");
    pn_message_set_subject(message, "measurement");
    pn_message_set_reply_to(message, "bench-replies");
    pn_data_put_string(pn_message_correlation_id(message), bytes("correlation-0001"));
    pn_message_set_content_type(message, "application/octet-stream");
    pn_message_set_creation_time(message, 1700000000000);
    pn_data_t *properties = pn_message_properties(message);
    pn_data_put_map(properties);
    pn_data_enter(properties);
    for (int index = 0; index < STRINGS; index++) {
        put_property(properties, "string", index);
        pn_data_put_string(properties, bytes("sixteen letters!"));
    }
    for (int index = 0; index < INTEGERS; index++) {
        put_property(properties, "int", index);
        pn_data_put_int(properties, 1000000 + index);
    }
    put_property(properties, "double", 0);
    pn_data_put_double(properties, 3.14159);
    put_property(properties, "bool", 0);
    pn_data_put_bool(properties, true);
    pn_data_exit(properties);
    char body[BODY];
    memset(body, 'x', sizeof body);
    pn_message_set_inferred(message, true);  // the body is a data section
    pn_data_put_binary(pn_message_body(message), pn_bytes(sizeof body, body));
}

static void fill_map(pn_message_t *message) {
    pn_data_t *body = pn_message_body(message);
    pn_data_put_map(body);
    pn_data_enter(body);
    for (int index = 0; index < ENTRIES; index++) {
        char key[16];
        snprintf(key, sizeof key, "key-%02d", index);
        pn_data_put_string(body, bytes(key));
        switch (index % 4) {
        case 0: pn_data_put_int(body, 1000000 + index); break;
        case 1: pn_data_put_string(body, bytes("sixteen letters!")); break;
        case 2: pn_data_put_double(body, index + 0.5); break;
        default: pn_data_put_bool(body, index % 8 == 3);
        }
    }
    pn_data_exit(body);
}

// Reads every value of a tree, so that the measurement includes all decoding.
static uint64_t read_values(pn_data_t *data) {
    uint64_t sum = 0;
    while (pn_data_next(data)) {
        switch (pn_data_type(data)) {
        case PN_MAP:
            sum += pn_data_get_map(data);
            pn_data_enter(data);
            sum += read_values(data);
            pn_data_exit(data);
            break;
        case PN_STRING: sum += pn_data_get_string(data).size; break;
        case PN_BINARY: sum += pn_data_get_binary(data).size; break;
        case PN_INT: sum += (uint64_t)pn_data_get_int(data); break;
        case PN_ULONG: sum += pn_data_get_ulong(data); break;
        case PN_DOUBLE: sum += (uint64_t)pn_data_get_double(data); break;
        case PN_BOOL: sum += pn_data_get_bool(data); break;
        default: break;
        }
    }
    return sum;
}

static uint64_t read_tree(pn_data_t *data) {
    pn_data_rewind(data);
    return read_values(data);
}

static uint64_t length(const char *text) { return text ? strlen(text) : 0; }

static uint64_t read_everything(pn_message_t *message) {
    return pn_message_get_user_id(message).size + length(pn_message_get_address(message)) +
           length(pn_message_get_subject(message)) + length(pn_message_get_reply_to(message)) +
           length(pn_message_get_content_type(message)) + (uint64_t)pn_message_get_creation_time(message) +
           read_tree(pn_message_id(message)) + read_tree(pn_message_correlation_id(message)) +
           read_tree(pn_message_properties(message)) + read_tree(pn_message_body(message));
}

int run_codec(const Options *options) {
    pn_message_t *message = pn_message(), *decoded = pn_message();
    char *buffer = allocate(LARGEST);
    Report report = {0};
    bool is_map = strcmp(options->codec, "map") == 0;
    if (is_map) fill_map(message);
    else fill_message(message);
    uint64_t expected = read_everything(message), sum = 0;
    bool is_right = true;

    int64_t start = now();
    for (uint64_t round = 0; round < options->count; round++) {
        report.encoded_bytes = LARGEST;
        is_right &= pn_message_encode(message, buffer, &report.encoded_bytes) == 0;
    }
    int64_t middle = now();
    for (uint64_t round = 0; round < options->count; round++)
        is_right &= pn_message_decode(decoded, buffer, report.encoded_bytes) == 0;
    int64_t third = now();
    for (uint64_t round = 0; round < options->count; round++) {
        is_right &= pn_message_decode(decoded, buffer, report.encoded_bytes) == 0;
        sum += read_everything(decoded);
    }
    report.encode = (double)(middle - start) / (double)options->count;
    report.decode = (double)(third - middle) / (double)options->count;
    report.read = (double)(now() - third) / (double)options->count;
    is_right &= sum == expected * options->count;
    if (is_right) print_report(options, &report);
    else complain(options->program, "the decoded message differs from the encoded one");
    pn_message_free(message);
    pn_message_free(decoded);
    free(buffer);
    return is_right ? 0 : 1;
}
