/* SPDX-License-Identifier: Apache-2.0 */

/* dlht/err.h - every code a call can return, with its number and its text.
 *
 * Zero is success; failures are negative and never change their number, since
 * they travel between peers and reach scripts. */

#ifndef DLHT_ERR_H
#define DLHT_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, text) */
#define DLHT_ERRORS(X)                                                         \
    X(OK, 0, "done")                                                           \
    X(ENOMEM, -1, "out of memory")                                             \
    X(EINVAL, -2, "bad argument")                                              \
    X(ENOTFOUND, -3, "no such key")                                            \
    X(EMISMATCH, -4, "version differs")                                        \
    X(ENOTOWNER, -5, "not the owner of this key")                              \
    X(EUNAVAILABLE, -6, "no owner can be reached")                             \
    X(EUNKNOWN, -7, "outcome unknown")                                         \
    X(ETIMEOUT, -8, "time ran out")                                            \
    X(EFULL, -9, "no room")                                                    \
    X(EBUSY, -10, "too busy")                                                  \
    X(ETOOBIG, -11, "too big")                                                 \
    X(ECORRUPT, -12, "damaged data")                                           \
    X(ENOKEYSPACE, -13, "no such keyspace")                                    \
    X(EEXISTS, -14, "exists already")                                          \
    X(EREFUSED, -15, "refused")                                                \
    X(EPROTO, -16, "not understood")                                           \
    X(EVERSION, -17, "protocol version not supported")                         \
    X(ECLUSTER, -18, "another cluster")                                        \
    X(EIO, -19, "input/output error")                                          \
    X(ECLOSED, -20, "closed")                                                  \
    X(ENOTSUP, -21, "not supported for this keyspace")                         \
    X(ESTALE, -22, "superseded")

enum dlht_err {
#define DLHT_ERR_ENUM(name, number, text) DLHT_##name = number,
    DLHT_ERRORS(DLHT_ERR_ENUM)
#undef DLHT_ERR_ENUM
};

#if defined(__GNUC__)
#define DLHT_API __attribute__((visibility("default")))
#else
#define DLHT_API
#endif

/* The text of a code, never NULL; the string is static. */
DLHT_API const char *dlht_strerror(int code);

/* The name of a code without its prefix ("ENOTFOUND"), never NULL. */
DLHT_API const char *dlht_errname(int code);

#ifdef __cplusplus
}
#endif

#endif
