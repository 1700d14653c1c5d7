/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots as they are opened. */

#include "dlht/err.h"
#include "vector/hnsw_state.h"

int hnsw_thaw(struct hnsw *h)
{
    if (!h->mapped)
        return DLHT_OK;
    return DLHT_ENOTSUP;
}
