/* SPDX-License-Identifier: Apache-2.0 */

/* Reading MessagePack documents with msgpack-c. */

#include "document.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "output.h"

static uint64_t big_endian(const uint8_t *at, size_t len)
{
    uint64_t n = 0;

    while (len-- > 0)
        n = n << 8 | *at++;
    return n;
}

/* Bytes of the header at tag; how many values or bytes follow that belong to
 * it. */
static size_t header(uint8_t tag, const uint8_t *at, size_t room,
                     uint64_t *values, uint64_t *bytes)
{
    static const uint8_t fixed[] = {
        /* from 0xc0: the bytes of the header, 0 where a length follows */
        1, 1, 1, 1, 0, 0, 0, 0,  0,  0, 5, 9, 2, 3, 5, 9,
        2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 0, 0, 0, 0
    };
    static const uint8_t widths[] = { /* from 0xc0: the bytes of that length */
                                      0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0,
                                      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                      0, 0, 0, 1, 2, 4, 2, 4, 2, 4
    };
    size_t width;

    *values = *bytes = 0;
    if (tag >= 0x80 && tag < 0xa0)
        *values = (uint64_t)(tag & 15) << (tag < 0x90);
    else if (tag >= 0xa0 && tag < 0xc0)
        *bytes = tag & 31;
    if (tag < 0xc0 || tag >= 0xe0)
        return 1;
    width = widths[tag - 0xc0]; /* bin, ext; str, array, map */
    if (!width)
        return fixed[tag - 0xc0];
    if (room < 1 + width)
        return room + 1;
    if (tag >= 0xdc)
        *values = big_endian(at + 1, width) << (tag >= 0xde);
    else
        *bytes = big_endian(at + 1, width) + (tag >= 0xc7 && tag <= 0xc9);
    return 1 + width;
}

/* One value, and no more. Checked before msgpack-c sees it, which takes memory
 * for as many elements as an array claims to have. */
static bool is_whole(struct dlht_bytes document)
{
    const uint8_t *at = document.data;
    size_t left = document.len;
    uint64_t due = 1;

    while (due > 0 && due <= left) {
        uint64_t values, bytes;
        size_t len = header(*at, at, left, &values, &bytes);
        if (len > left || bytes > left - len)
            return false;
        at += len + bytes;
        left -= len + bytes;
        due += values - 1;
    }
    return due == 0 && left == 0;
}

bool document_open(struct document *document, struct dlht_bytes bytes)
{
    size_t at = 0;

    msgpack_unpacked_init(&document->unpacked);
    return is_whole(bytes) &&
           msgpack_unpack_next(&document->unpacked, bytes.data, bytes.len,
                               &at) == MSGPACK_UNPACK_SUCCESS &&
           at == bytes.len;
}

void document_close(struct document *document)
{
    msgpack_unpacked_destroy(&document->unpacked);
}

const msgpack_object *document_root(const struct document *document)
{
    return &document->unpacked.data;
}

size_t document_rows(const struct document *document)
{
    const msgpack_object *root = document_root(document);

    return root->type == MSGPACK_OBJECT_ARRAY ? root->via.array.size : 1;
}

const msgpack_object *document_row(const struct document *document,
                                   size_t index)
{
    const msgpack_object *root = document_root(document);

    return root->type == MSGPACK_OBJECT_ARRAY ? &root->via.array.ptr[index]
                                              : root;
}

const msgpack_object *document_field(const msgpack_object *map,
                                     const char *name)
{
    size_t len = strlen(name);

    if (map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *key = &map->via.map.ptr[i].key;
        if (key->type == MSGPACK_OBJECT_STR && key->via.str.size == len &&
            memcmp(key->via.str.ptr, name, len) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

bool document_has(const msgpack_object *map, const char *name)
{
    const msgpack_object *field = document_field(map, name);

    return field && field->type != MSGPACK_OBJECT_NIL;
}

uint64_t document_u64(const msgpack_object *map, const char *name)
{
    const msgpack_object *field = document_field(map, name);

    return field && field->type == MSGPACK_OBJECT_POSITIVE_INTEGER
               ? field->via.u64
               : 0;
}

double document_f64(const msgpack_object *map, const char *name)
{
    const msgpack_object *field = document_field(map, name);

    if (!field)
        return 0;
    if (field->type == MSGPACK_OBJECT_FLOAT32 ||
        field->type == MSGPACK_OBJECT_FLOAT64)
        return field->via.f64;
    return (double)document_u64(map, name);
}

bool document_flag(const msgpack_object *map, const char *name)
{
    const msgpack_object *field = document_field(map, name);

    return field && field->type == MSGPACK_OBJECT_BOOLEAN && field->via.boolean;
}

static bool object_bytes(const msgpack_object *object, struct dlht_bytes *bytes)
{
    if (object->type == MSGPACK_OBJECT_STR)
        *bytes =
            (struct dlht_bytes){ object->via.str.ptr, object->via.str.size };
    else if (object->type == MSGPACK_OBJECT_BIN)
        *bytes =
            (struct dlht_bytes){ object->via.bin.ptr, object->via.bin.size };
    else
        return false;
    return true;
}

struct dlht_bytes document_value_bytes(const msgpack_object *object)
{
    struct dlht_bytes bytes = { "", 0 };

    object_bytes(object, &bytes);
    return bytes;
}

struct dlht_bytes document_bytes(const msgpack_object *map, const char *name)
{
    const msgpack_object *field = document_field(map, name);

    return field ? document_value_bytes(field) : (struct dlht_bytes){ "", 0 };
}

void document_pack_str(msgpack_packer *packer, struct dlht_bytes bytes)
{
    msgpack_pack_str(packer, bytes.len);
    msgpack_pack_str_body(packer, bytes.data, bytes.len);
}

void document_pack_text(msgpack_packer *packer, const char *text)
{
    document_pack_str(packer, (struct dlht_bytes){ text, strlen(text) });
}

static void print_value(const msgpack_object *object);

static void print_array(const msgpack_object_array *array)
{
    putchar('[');
    for (uint32_t i = 0; i < array->size; i++) {
        if (i)
            fputs(", ", stdout);
        print_value(&array->ptr[i]);
    }
    putchar(']');
}

static void print_map(const msgpack_object_map *map)
{
    bool first = true;

    putchar('{');
    for (uint32_t i = 0; i < map->size; i++) {
        struct dlht_bytes name;
        if (!object_bytes(&map->ptr[i].key, &name) || !output_is_utf8(name))
            continue; /* JSON has no such names */
        if (!first)
            fputs(", ", stdout);
        first = false;
        output_value_bytes(name);
        fputs(": ", stdout);
        print_value(&map->ptr[i].val);
    }
    putchar('}');
}

/* As deep as msgpack-c unpacks, which is bounded. */
static void print_value(const msgpack_object *object)
{
    struct dlht_bytes bytes;

    if (object_bytes(object, &bytes))
        output_value_bytes(bytes);
    else if (object->type == MSGPACK_OBJECT_BOOLEAN)
        fputs(object->via.boolean ? "true" : "false", stdout);
    else if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        printf("%" PRIu64, object->via.u64);
    else if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        printf("%" PRId64, object->via.i64);
    else if (object->type == MSGPACK_OBJECT_FLOAT32 ||
             object->type == MSGPACK_OBJECT_FLOAT64)
        output_value_f64(object->via.f64);
    else if (object->type == MSGPACK_OBJECT_ARRAY)
        print_array(&object->via.array);
    else if (object->type == MSGPACK_OBJECT_MAP)
        print_map(&object->via.map);
    else
        fputs("null", stdout);
}

void document_print_json(const msgpack_object *object)
{
    print_value(object);
    putchar('\n');
}
