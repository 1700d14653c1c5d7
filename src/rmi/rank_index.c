/* SPDX-License-Identifier: Apache-2.0 */
#include "rmi/rank_index.h"
