/* SPDX-License-Identifier: Apache-2.0 */

/* recover: the last resort when the majority of an arc's copies is lost. Says
 * what would be lost; does it only if told that this is accepted. */

#include "cmd.h"

#include <inttypes.h>
#include <stdio.h>

#include "cells.h"
#include "document.h"
#include "output.h"

static void print_members(const msgpack_object *list)
{
    char peer[CELL_MAX], state[CELL_MAX], age[CELL_MAX];

    if (list == NULL || list->type != MSGPACK_OBJECT_ARRAY)
        return;
    for (size_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *m = &list->via.array.ptr[i];
        printf(
            "  %-22s %-8s %s",
            output_printable(document_bytes(m, "peer"), 64, peer, sizeof(peer)),
            document_flag(m, "votes") ? "voter" : "learner",
            output_printable(document_bytes(m, "state"), 64, state,
                             sizeof(state)));
        if (document_has(m, "down_s"))
            printf(" for %s",
                   cells_age_text(document_f64(m, "down_s"), age, sizeof(age)));
        if (document_has(m, "last_index"))
            printf(", log to entry %" PRIu64 ", %" PRIu64 " keys",
                   document_u64(m, "last_index"), document_u64(m, "keys"));
        putchar('\n');
    }
}

static void print_plan(const msgpack_object *plan)
{
    char text[CELL_MAX];
    bool done = document_flag(plan, "done");

    printf("arc %016" PRIx64 " of %s", document_u64(plan, "arc"),
           output_printable(document_bytes(plan, "keyspace"), 64, text,
                            sizeof(text)));
    printf(", from %s", cells_bound_text(plan, "lo", text, sizeof(text)));
    printf(" to %s\n", cells_bound_text(plan, "hi", text, sizeof(text)));
    print_members(document_field(plan, "members"));
    if (document_has(plan, "survivor"))
        printf("%s %s: log to entry %" PRIu64 " of term %" PRIu64 ", %" PRIu64
               " of them applied, %" PRIu64 " keys\n",
               done ? "goes on alone with the copy on"
                    : "would go on alone with the copy on",
               output_printable(document_bytes(plan, "survivor"), 64, text,
                                sizeof(text)),
               document_u64(plan, "last_index"),
               document_u64(plan, "last_term"), document_u64(plan, "applied"),
               document_u64(plan, "keys"));
    else
        puts(done ? "goes on with nothing in it"
                  : "would go on with nothing in it");
    printf("%s\n", output_printable(document_bytes(plan, "lost"), 400, text,
                                    sizeof(text)));
    if (done)
        printf("OK: generation %" PRIu64 "; it gets new copies as peers have "
               "room\n",
               document_u64(plan, "generation"));
    else
        puts("nothing was done; with --accept-loss it is");
}

static bool parse_arc(const struct word *word, uint64_t *arc)
{
    size_t i =
        word->len > 2 && word->data[0] == '0' && word->data[1] == 'x' ? 2 : 0;

    *arc = 0;
    if (word->len == i || word->len > i + 16)
        return false;
    for (; i < word->len; i++) {
        char c = word->data[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return false;
        *arc = *arc << 4 | (unsigned)digit;
    }
    return *arc != 0;
}

int cmd_recover(struct cli *cli, const struct arguments *args)
{
    struct dlht_request request = cli_request(cli, DLHT_OP_RECOVER);
    bool accept = options_has(args, "accept-loss");
    bool empty = options_has(args, "empty");
    struct dlht_result result;
    struct document document;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    uint64_t arc;
    bool done;
    int rc;

    if (!parse_arc(&args->list[0], &arc))
        return cli_usage(cli,
                         "'%s': an ARC as ring and status print it is "
                         "meant, hexadecimal",
                         args->list[0].data);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_map(&packer, 3);
    document_pack_text(&packer, "arc");
    msgpack_pack_uint64(&packer, arc);
    document_pack_text(&packer, "accept_loss");
    accept ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
    document_pack_text(&packer, "empty");
    empty ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
    request.document = (struct dlht_bytes){ buffer.data, buffer.size };
    rc = cells_call(cli, &request, &result, &document);
    msgpack_sbuffer_destroy(&buffer);
    if (rc != CLI_DONE)
        return rc;
    done = document_flag(document_root(&document), "done");
    if (cli->set.json)
        document_print_json(document_root(&document));
    else
        print_plan(document_root(&document));
    document_close(&document);
    return done ? CLI_DONE : CLI_REFUSED;
}
