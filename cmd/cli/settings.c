/* SPDX-License-Identifier: Apache-2.0 */

/* OPTION=VALUE arguments. */

#include "settings.h"

#include <stdio.h>
#include <string.h>

#include "output.h"

/* In halves; false: it is none. */
static bool cut_setting(const struct word *word, struct dlht_bytes *option,
                        struct dlht_bytes *value)
{
    const char *equals = memchr(word->data, '=', word->len);
    size_t len = equals ? (size_t)(equals - word->data) : 0;

    if (len == 0)
        return false;
    *option = (struct dlht_bytes){ word->data, len };
    *value = (struct dlht_bytes){ equals + 1, word->len - len - 1 };
    return true;
}

int settings_check(struct cli *cli, const struct arguments *args,
                   const char *see)
{
    struct dlht_bytes a, b, value;

    for (size_t i = 1; i < args->count; i++) {
        if (!cut_setting(&args->list[i], &a, &value))
            return cli_usage(cli, "'%s': OPTION=VALUE is meant; %s",
                             args->list[i].data, see);
        for (size_t k = 1; k < i; k++) {
            if (cut_setting(&args->list[k], &b, &value) && a.len == b.len &&
                memcmp(a.data, b.data, a.len) == 0)
                return cli_usage(cli, "'%.*s' is given twice", (int)a.len,
                                 (const char *)a.data);
        }
    }
    return CLI_DONE;
}

void settings_pack(msgpack_packer *packer, const struct arguments *args)
{
    document_pack_text(packer, "options");
    msgpack_pack_map(packer, args->count - 1);
    for (size_t i = 1; i < args->count; i++) {
        struct dlht_bytes option, value;
        if (cut_setting(&args->list[i], &option, &value)) {
            document_pack_str(packer, option);
            document_pack_str(packer, value);
        }
    }
}

int settings_send(struct cli *cli, enum dlht_op op, msgpack_sbuffer *buffer)
{
    struct dlht_request request = cli_request(cli, op);
    struct dlht_result result;
    int rc;

    request.document = (struct dlht_bytes){ buffer->data, buffer->size };
    rc = cli_call(cli, &request, &result);
    msgpack_sbuffer_destroy(buffer);
    if (rc != CLI_DONE)
        return rc;
    if (cli->set.json) {
        output_begin();
        output_flag("ok", true);
        output_end();
    } else {
        puts("OK");
    }
    return CLI_DONE;
}
