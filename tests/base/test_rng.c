/* SPDX-License-Identifier: Apache-2.0 */

#include "base/rng.h"

#include <criterion/criterion.h>

#include "base/id.h"

Test(rng, one_seed_gives_one_sequence)
{
    struct rng a, b;
    rng_init(&a, 7);
    rng_init(&b, 7);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(rng_next(&a), rng_next(&b));
}

Test(rng, below_stays_below_and_reaches_all)
{
    struct rng rng;
    rng_init(&rng, 1);
    int seen[7] = { 0 };
    for (int i = 0; i < 7000; i++)
        seen[rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++)
        cr_expect(seen[i] > 800 && seen[i] < 1200, "%d: %d", i, seen[i]);
}

Test(id, text_and_back)
{
    struct rng rng;
    rng_init(&rng, 3);
    struct id id = id_random(&rng), back;
    char text[ID_TEXT_BYTES];
    id_to_text(&id, text);
    cr_assert(id_from_text(text, &back));
    cr_expect(id_equal(&id, &back));
    cr_expect_not(id_from_text("12", &back));
}
