/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/cli/settings.h - OPTION=VALUE arguments behind the name of what they are
 * of: keyspace set, peer set. */

#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H

#include "cli.h"
#include "document.h"
#include "options.h"

/* Each is an OPTION=VALUE, and no option is named twice; see says where the
 * options are listed. CLI_DONE, or CLI_USAGE with the error said. */
int settings_check(struct cli *cli, const struct arguments *args,
                   const char *see);

/* The field "options" with the map of them, after settings_check. */
void settings_pack(msgpack_packer *packer, const struct arguments *args);

/* Sends what buffer holds as the document of op, says OK, frees buffer. */
int settings_send(struct cli *cli, enum dlht_op op, msgpack_sbuffer *buffer);

#endif
