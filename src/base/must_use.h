/* SPDX-License-Identifier: Apache-2.0 */

/* base/must_use.h - marks calls whose result may not be dropped. */

#ifndef BASE_MUST_USE_H
#define BASE_MUST_USE_H

#if defined(__GNUC__)
#define MUST_USE __attribute__((warn_unused_result))
#else
#define MUST_USE
#endif

#endif
