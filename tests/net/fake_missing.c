#include "wire/rpc.h"
#include "dlht/err.h"
int rpc_unpack(struct span input, struct buf *scratch, struct rpc_call *call, const char **text){(void)input;(void)scratch;(void)call;(void)text;return DLHT_EPROTO;}
int rpc_pack_response(const struct rpc_call *call, const struct response *response, struct buf *out){(void)call;(void)response;(void)out;return DLHT_OK;}
