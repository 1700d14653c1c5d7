/* SPDX-License-Identifier: Apache-2.0 */

/* node/journal_types.h - what the node writes to its journal.
 *
 * Records with an index belong to the log of their arc and go when a
 * checkpoint covers them. Records with index 0 are facts: of each (arc, type)
 * the newest is kept for ever, and none may be misread if it comes again after
 * younger records of other types: each names the replica it speaks of. Nor may
 * any be misread because it comes before the first IDENTITY that is left.
 * Payloads are MessagePack values one after the other. */

#ifndef NODE_JOURNAL_TYPES_H
#define NODE_JOURNAL_TYPES_H

enum journal_type {
    JOURNAL_ENTRY = 1,     /* index, term; type, data, members */
    JOURNAL_VOTE = 2,      /* 0; replica, term, vote */
    JOURNAL_FOUND = 3,     /* 1; replica, descriptor: a group begins. Indexed,
                           * so that it stays before its arc's entries until a
                           * checkpoint stands for both */
    JOURNAL_CREATE = 4,    /* 0; replica, keyspace: empty, learns from others;
                           * and the parent, of one that is not cut from it
                           * here yet */
    JOURNAL_REMOVE = 5,    /* 0; every replica of the arc that is no longer
                           * kept here, the newest and all before it */
    JOURNAL_COMMIT = 6,    /* index: all up to it is committed; written when a
                           * split is applied, so that replay makes the right
                           * child before it meets its records */
    JOURNAL_INSTALL = 7,   /* index, term; replica: a received snapshot, already
                           * in the newest checkpoint, replaced the log */
    JOURNAL_IDENTITY = 8,  /* 0, arc 0; cluster, peer, incarnation */
    JOURNAL_PEERS = 9,     /* 0, arc 0; addresses last heard of */
    JOURNAL_RECOVER = 10,  /* index, term; old replica, new replica, generation,
                           * descriptor, peer: all before index is committed, and
                           * the copy is a group of its own from then on; old
                           * replica 0: with nothing in it */
    JOURNAL_FORGOTTEN = 11 /* 0, arc 0; keyspace: the journal was damaged, and
                            * may lack foundings of those up to this one; all
                            * ones: which that is is not known yet */
};

#endif
