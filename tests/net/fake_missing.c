#include "wire/rpc.h"
#include "store/checkpoint.h"
#include "dlht/err.h"
int rpc_unpack(struct span input, struct buf *scratch, struct rpc_call *call, const char **text){(void)input;(void)scratch;(void)call;(void)text;return DLHT_EPROTO;}
int rpc_pack_response(const struct rpc_call *call, const struct response *response, struct buf *out){(void)call;(void)response;(void)out;return DLHT_OK;}
int checkpoint_begin(struct disk disk, arc_id arc, uint64_t number, struct span header, struct checkpoint_writer **out){(void)disk;(void)arc;(void)number;(void)header;*out=0;return DLHT_ENOTSUP;}
int checkpoint_add(struct checkpoint_writer *writer, struct span block){(void)writer;(void)block;return DLHT_OK;}
int checkpoint_commit(struct checkpoint_writer *writer){(void)writer;return DLHT_OK;}
void checkpoint_abort(struct checkpoint_writer *writer){(void)writer;}
int checkpoint_remove(struct disk disk, arc_id arc){(void)disk;(void)arc;return DLHT_OK;}
