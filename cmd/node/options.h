/* SPDX-License-Identifier: Apache-2.0 */

/* cmd/node/options.h - what dlht-node is told by its command line and its
 * config file. One table serves both, and the help. */

#ifndef CMD_NODE_OPTIONS_H
#define CMD_NODE_OPTIONS_H

#include <stdbool.h>

#include <dlht/dlht.h>

enum {
    OPTIONS_TEXTS_MAX = 64,
    OPTIONS_ERROR_MAX = 512
};

struct options {
    struct dlht_config config;
    bool log_json;
    bool help;
    bool version;
    const char *config_file;
    /* Strings of the config file, owned; those of argv are borrowed. */
    char *texts[OPTIONS_TEXTS_MAX];
    int text_count;
    bool bootstrap_from_file;
    char error[OPTIONS_ERROR_MAX];
};

/* False: options->error is one line that names what is wrong and the
 * remedy. */
bool options_parse(struct options *options, int argc, char **argv);
void options_free(struct options *options);

void options_print_help(void);

#endif
