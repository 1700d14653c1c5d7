/* SPDX-License-Identifier: Apache-2.0 */

/* Files of histories. */

#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dlht/err.h"
#include "sim/transcript.h"

enum {
    CHECK_HOLDS = 0,
    CHECK_BROKEN = 1,
    CHECK_NO_HISTORY = 2
};

static int read_lines(struct transcript *t, FILE *file, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int rc = CHECK_HOLDS;
    while (rc == CHECK_HOLDS && (len = getline(&line, &cap, file)) >= 0) {
        const char *why;
        if (len > 0 && line[len - 1] == '\n')
            len--;
        if (transcript_add(t, span_of(line, (size_t)len), &why) == DLHT_OK)
            continue;
        fprintf(stderr, "dlht-sim: %s:%zu: %s\n", path,
                transcript_line_count(t) + 1, why);
        rc = CHECK_NO_HISTORY;
    }
    free(line);
    if (ferror(file)) {
        fprintf(stderr, "dlht-sim: %s: %s\n", path, strerror(errno));
        rc = CHECK_NO_HISTORY;
    }
    return rc;
}

static void print_line(void *context, const char *line)
{
    (void)context;
    puts(line);
}

static int judge(struct transcript *t, const char *path)
{
    struct history_verdict verdict;
    size_t bad = 0;
    if (transcript_check(t, &verdict, &bad) != DLHT_OK) {
        fprintf(stderr, "dlht-sim: %s:%zu: that value was written before\n",
                path, bad);
        return CHECK_NO_HISTORY;
    }
    if (verdict.verdict == LINEAR_NO) {
        printf("not linearizable: %s\n", verdict.text);
        transcript_print(t, verdict.key, print_line, NULL);
        return CHECK_BROKEN;
    }
    if (verdict.verdict == LINEAR_UNDECIDED) {
        printf("undecided: %zu keys take too long\n", verdict.undecided);
        return CHECK_BROKEN;
    }
    printf("%zu operations are linearizable, %llu steps\n",
           transcript_line_count(t), (unsigned long long)verdict.steps);
    return CHECK_HOLDS;
}

int check_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "dlht-sim: %s: %s\n", path, strerror(errno));
        return CHECK_NO_HISTORY;
    }
    struct transcript *t = transcript_new();
    int rc = read_lines(t, file, path);
    fclose(file);
    if (rc == CHECK_HOLDS)
        rc = judge(t, path);
    transcript_free(t);
    return rc;
}
