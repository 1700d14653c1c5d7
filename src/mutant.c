/* SPDX-License-Identifier: Apache-2.0 */

/* Which mutant this process is (base/mutant.h); only in a build of mutants. */

#include <stdlib.h>

#include "base/mutant.h"

int mutant_number;

__attribute__((constructor)) static void read_number(void)
{
    const char *text = getenv("DLHT_MUTANT");
    mutant_number = text ? atoi(text) : 0;
}
