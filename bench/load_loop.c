/* SPDX-License-Identifier: Apache-2.0 */

/* The loop of the load generator: what became readable is taken in, what was
 * answered is asked anew, and each connection is written to once a turn. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "dlht/err.h"
#include "load.h"

enum {
    INPUT_BYTES = 256 << 10,
    EVENTS = 256,
    SILENCE_S = 20 /* without any answer: nobody is there any more */
};

static const uint64_t SECOND = 1000000000;

/* ---- Asking */

static void watch(struct load_connection *c, bool write)
{
    struct epoll_event event = { .events = EPOLLIN | (write ? EPOLLOUT : 0),
                                 .data.ptr = c };
    if (epoll_ctl(c->client->load->poll, EPOLL_CTL_MOD, c->fd, &event) != 0)
        load_die("epoll: %s", strerror(errno));
    c->blocked = write;
}

static void flush(struct load_connection *c)
{
    while (c->out_sent < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->out_sent,
                         c->out.len - c->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            load_die("the server is gone: %s", strerror(errno));
        c->out_sent += (size_t)n;
    }
    bool left = c->out_sent < c->out.len;
    if (!left) {
        buf_reset(&c->out);
        c->out_sent = 0;
    }
    if (left != c->blocked)
        watch(c, left);
}

/* The next id under which nothing is open. */
static uint32_t new_id(struct load_connection *c)
{
    while (c->slot_of[c->next_id % LOAD_IDS] != LOAD_NO_SLOT)
        c->next_id++;
    return c->next_id++;
}

static void ask(struct load_client *client, uint64_t since_ns)
{
    struct load *load = client->load;
    size_t key_size = load->options->key_size;
    bool filling = load->phase == LOAD_FILLING;
    enum load_kind kind = filling ? LOAD_SET : load_draw_kind(&load->draw);
    uint32_t number =
        filling ? (uint32_t)load->filled++ : load_draw_key(&load->draw);
    struct load_connection *c =
        &client->connections[load->routes ? load->routes[number] : 0];
    uint32_t at = c->free[--c->free_count];
    struct load_slot *slot = &c->slots[at];
    slot->since_ns = since_ns;
    slot->id = new_id(c);
    slot->kind = (uint8_t)kind;
    slot->key = number;
    slot->pending = LOAD_MORE;
    c->slot_of[slot->id % LOAD_IDS] = at;
    client->open_count++;
    load->open_count++;

    const struct load_form *form = &load->forms[slot->kind];
    if (buf_reserve(&c->out, form->bytes.len) != DLHT_OK)
        load_die("no memory");
    uint8_t *request = c->out.data + c->out.len;
    memcpy(request, form->bytes.data, form->bytes.len);
    uint8_t *key = request + form->key_at;
    load_key_write(key, key_size, slot->key);
    if (form->value_at && load->options->value_size >= key_size)
        memcpy(request + form->value_at, key, key_size);
    if (load->options->protocol->stamp)
        load->options->protocol->stamp(request, form, slot->id);
    c->out.len += form->bytes.len;
}

/* Asks as much as may be asked now; with a rate, when the next request is due
 * (0: when there is an answer). */
static uint64_t ask_all(struct load_client *client, uint64_t now_ns)
{
    struct load *load = client->load;
    uint64_t next_ns = 0;
    if (load->phase == LOAD_ENDING)
        return 0;
    while (client->open_count < load->depth && next_ns == 0) {
        if (load->phase == LOAD_FILLING) {
            if (load->filled == load->options->keys)
                break;
            ask(client, now_ns);
        } else if (load->gap_ns == 0) {
            ask(client, now_ns);
        } else if (client->due_ns <= now_ns) {
            ask(client, client->due_ns);
            client->due_ns += load->gap_ns;
        } else {
            next_ns = client->due_ns;
        }
    }
    for (size_t i = 0; i < client->connection_count; i++) {
        struct load_connection *c = &client->connections[i];
        if (c->out.len > 0 && !c->blocked)
            flush(c);
    }
    return next_ns;
}

/* ---- Answers */

static void note_error(struct load_figures *f, struct span text)
{
    size_t len = text.len < sizeof f->first_error - 1
                     ? text.len
                     : sizeof f->first_error - 1;
    if (f->errors++ > 0)
        return;
    memcpy(f->first_error, text.data, len);
    f->first_error[len] = 0;
}

static bool value_is_wrong(const struct load *load, uint32_t key,
                           struct span value)
{
    uint8_t text[LOAD_KEY_MAX];
    size_t key_size = load->options->key_size;
    if (value.len != load->options->value_size)
        return true;
    if (!load->options->check)
        return false;
    load_key_form(text, key_size);
    load_key_write(text, key_size, key);
    return memcmp(value.data, text, key_size) != 0;
}

static void count(struct load *load, const struct load_slot *slot,
                  enum load_answer answer, uint64_t now_ns)
{
    struct load_figures *f = &load->figures;
    bool asked = slot->kind == LOAD_GET;
    if (asked != (answer == LOAD_VALUE || answer == LOAD_MISS))
        load_die("%s was answered with %s", asked ? "a get" : "a put",
                 asked ? "what a put is answered with" : "a value or none");
    f->gets += asked;
    f->sets += !asked;
    f->hits += answer == LOAD_VALUE;
    f->misses += answer == LOAD_MISS;
    histogram_add(&f->latency,
                  now_ns > slot->since_ns ? now_ns - slot->since_ns : 0);
}

static void answered(struct load_connection *c, enum load_answer answer,
                     const struct load_reply *reply, uint64_t now_ns)
{
    struct load *load = c->client->load;
    bool numbered = load->options->protocol->numbered;
    uint32_t id = numbered ? reply->id : c->oldest_id;
    uint32_t at = c->slot_of[id % LOAD_IDS];
    if (at == LOAD_NO_SLOT || c->slots[at].id != id)
        load_die("an answer to what was not asked");
    struct load_slot *slot = &c->slots[at];
    if ((answer == LOAD_VALUE ||
         (answer == LOAD_PART && reply->is == LOAD_VALUE)) &&
        value_is_wrong(load, slot->key, reply->bytes))
        load->figures.wrong++;
    if (answer == LOAD_PART) {
        slot->pending = (uint8_t)reply->is;
        return;
    }
    if (answer == LOAD_END)
        answer = slot->pending == LOAD_MORE ? LOAD_REFUSED
                                            : (enum load_answer)slot->pending;
    if (answer == LOAD_REFUSED)
        note_error(&load->figures, reply->bytes.len
                                       ? reply->bytes
                                       : span_str("the call failed"));
    else
        count(load, slot, answer, now_ns);
    load->figures.forwarded += reply->hops > 0;
    c->slot_of[id % LOAD_IDS] = LOAD_NO_SLOT;
    c->oldest_id += !numbered;
    c->free[c->free_count++] = at;
    c->client->open_count--;
    load->open_count--;
}

/* What is whole of the input is taken; how much that was. */
static size_t take_all(struct load_connection *c, struct span input,
                       uint64_t now_ns)
{
    const struct load_protocol *protocol = c->client->load->options->protocol;
    size_t at = 0;
    while (at < input.len) {
        struct load_reply reply = { 0 };
        enum load_answer answer =
            protocol->take(c, span_tail(input, at), &reply);
        if (answer == LOAD_MORE)
            break;
        if (answer == LOAD_BROKEN || (c->greeting && answer == LOAD_REFUSED))
            load_die("%s: %.*s", protocol->name,
                     (int)(reply.bytes.len < 200 ? reply.bytes.len : 200),
                     (const char *)reply.bytes.data);
        at += reply.used;
        if (answer != LOAD_NOTHING)
            answered(c, answer, &reply, now_ns);
    }
    return at;
}

/* What is left of the read before stands before what is read now. */
static void read_some(struct load_connection *c)
{
    struct load *load = c->client->load;
    size_t before = c->rest.len;
    if (before == load->input_cap)
        load_die("an answer that is too long");
    if (before)
        memcpy(load->input, c->rest.data, before);
    ssize_t n = recv(c->fd, load->input + before, load->input_cap - before, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        load_die("the server closed a connection%s%s", n < 0 ? ": " : "",
                 n < 0 ? strerror(errno) : "");
    uint64_t now_ns = load_now_ns();
    struct span input = span_of(load->input, before + (size_t)n);
    size_t taken = take_all(c, input, now_ns);
    load->heard_ns = now_ns;
    buf_reset(&c->rest);
    buf_append_span(&c->rest, span_tail(input, taken));
    if (c->rest.failed)
        load_die("no memory");
    ask_all(c->client, now_ns);
    if (c->out.len > 0 && !c->blocked)
        flush(c); /* protocols may have to say something besides */
}

/* ---- Turns */

static void wait_turn(struct load *load, uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now_ns = load_now_ns();
    uint64_t left = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec wait = { .tv_sec = (time_t)(left / SECOND),
                             .tv_nsec = (long)(left % SECOND) };
    int n = epoll_pwait2(load->poll, events, EVENTS, &wait, NULL);
    if (n < 0 && errno != EINTR)
        load_die("epoll: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct load_connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            flush(c);
        if (events[i].events & (uint32_t)~EPOLLOUT)
            read_some(c);
    }
    if (load->open_count > 0 &&
        load_now_ns() > load->heard_ns + SILENCE_S * SECOND)
        load_die("no answer for %d s", (int)SILENCE_S);
}

/* Turns until then, or if that is 0 until nothing is open. */
static void turns(struct load *load, uint64_t end_ns)
{
    for (;;) {
        uint64_t now_ns = load_now_ns();
        uint64_t next_ns = end_ns ? end_ns : now_ns + SECOND;
        if (end_ns && now_ns >= end_ns)
            return;
        for (uint32_t i = 0; i < load->options->connections; i++) {
            struct load_client *client = &load->clients[i];
            /* Without a rate, answers alone make room for more. */
            if (load->gap_ns == 0 && client->open_count > 0)
                continue;
            uint64_t due_ns = ask_all(client, now_ns);
            if (due_ns && due_ns < next_ns)
                next_ns = due_ns;
        }
        if (!end_ns && load->open_count == 0)
            return;
        wait_turn(load, next_ns);
    }
}

/* How many connections still wait to be let in. */
static size_t greeting(const struct load_client *client)
{
    size_t count = 0;
    for (size_t i = 0; i < client->connection_count; i++)
        count += client->connections[i].greeting;
    return count;
}

static void greet_all(struct load *load)
{
    uint64_t end_ns = load_now_ns() + SILENCE_S * SECOND;
    size_t waiting;
    for (uint32_t i = 0; i < load->options->connections; i++)
        for (size_t k = 0; k < load->clients[i].connection_count; k++)
            flush(&load->clients[i].connections[k]);
    load->phase = LOAD_ENDING; /* nothing is asked yet */
    do {
        waiting = 0;
        for (uint32_t i = 0; i < load->options->connections; i++)
            waiting += greeting(&load->clients[i]);
        if (waiting)
            wait_turn(load, load_now_ns() + SECOND / 10);
        if (load_now_ns() > end_ns)
            load_die("no answer for %d s", (int)SILENCE_S);
    } while (waiting);
}

static void fill(struct load *load)
{
    uint32_t pipeline = load->options->pipeline;
    load->phase = LOAD_FILLING;
    load->depth = pipeline > LOAD_FILL_PIPELINE ? pipeline : LOAD_FILL_PIPELINE;
    turns(load, 0);
    if (load->figures.errors > 0)
        load_die("%llu keys could not be put, the first: %s",
                 (unsigned long long)load->figures.errors,
                 load->figures.first_error);
}

static uint64_t duration(double seconds)
{
    return (uint64_t)(seconds * (double)SECOND);
}

static void measure(struct load *load)
{
    const struct load_options *options = load->options;
    if (options->route)
        load->routes = load_route(options);
    load->phase = LOAD_RUNNING;
    load->depth = options->pipeline;
    uint64_t begin_ns = load_now_ns();
    if (options->rate > 0)
        load->gap_ns = duration((double)options->connections / options->rate);
    for (uint32_t i = 0; i < options->connections; i++)
        load->clients[i].due_ns =
            begin_ns + load->gap_ns * i / options->connections;
    begin_ns += duration(options->warm_seconds);
    turns(load, begin_ns);

    memset(&load->figures, 0, sizeof load->figures);
    struct load_figures *f = &load->figures;
    begin_ns = load_now_ns();
    uint64_t end_ns = begin_ns + duration(options->seconds);
    double cpu_ns = load_cpu_ns(), waited_ns = load_waited_ns();
    double server_ns = load_servers_ns(options);
    turns(load, end_ns);
    f->server_ns = load_servers_ns(options) - server_ns;
    f->cpu_ns = load_cpu_ns() - cpu_ns;
    f->waited_ns = load_waited_ns() - waited_ns;
    f->seconds = (double)(load_now_ns() - begin_ns) / (double)SECOND;
    load->end_ns = end_ns;
    for (uint32_t i = 0; load->gap_ns && i < options->connections; i++)
        ask_all(&load->clients[i], end_ns);
}

/* What was due before the end and found no room waited at least until then. */
static void count_unsent(struct load *load)
{
    struct load_figures *f = &load->figures;
    for (uint32_t i = 0; i < load->options->connections; i++) {
        struct load_client *c = &load->clients[i];
        for (; c->due_ns < load->end_ns; c->due_ns += load->gap_ns) {
            histogram_add(&f->latency, load->end_ns - c->due_ns);
            f->unsent++;
        }
    }
}

/* What still comes is of latency and errors, not of the rate. */
static void drain(struct load *load, struct load_figures *out)
{
    const struct load_figures *f = &load->figures;
    uint64_t gets = f->gets, sets = f->sets;
    uint64_t hits = f->hits, misses = f->misses;
    load->phase = LOAD_ENDING;
    turns(load, 0);
    if (load->gap_ns > 0)
        count_unsent(load);
    *out = *f;
    out->late = f->gets + f->sets - gets - sets;
    out->gets = gets;
    out->sets = sets;
    out->hits = hits;
    out->misses = misses;
}

/* ---- Life */

static void connection_init(struct load_client *client,
                            struct load_connection *c, const char *to)
{
    struct load *load = client->load;
    const struct load_options *options = load->options;
    uint32_t slots = options->pipeline > LOAD_FILL_PIPELINE
                         ? options->pipeline
                         : LOAD_FILL_PIPELINE;
    c->client = client;
    c->slots = bench_memory(slots, sizeof *c->slots);
    c->free = bench_memory(slots, sizeof *c->free);
    c->slot_of = bench_memory(LOAD_IDS, sizeof *c->slot_of);
    for (uint32_t i = 0; i < LOAD_IDS; i++)
        c->slot_of[i] = LOAD_NO_SLOT;
    while (c->free_count < slots) {
        c->free[c->free_count] = slots - 1 - c->free_count;
        c->free_count++;
    }
    c->fd = load_connect(to);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
    if (epoll_ctl(load->poll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        load_die("epoll: %s", strerror(errno));
    if (options->protocol->hello)
        options->protocol->hello(load, c);
}

static void client_init(struct load *load, uint32_t number)
{
    const struct load_options *options = load->options;
    struct load_client *client = &load->clients[number];
    client->load = load;
    client->connection_count = options->route ? options->to_count : 1;
    client->connections =
        bench_memory(client->connection_count, sizeof *client->connections);
    for (size_t i = 0; i < client->connection_count; i++)
        connection_init(
            client, &client->connections[i],
            options->to[options->route ? i : number % options->to_count]);
}

static void connection_deinit(struct load_connection *c)
{
    close(c->fd);
    free(c->slots);
    free(c->free);
    free(c->slot_of);
    buf_deinit(&c->out);
    buf_deinit(&c->rest);
}

static void client_deinit(struct load_client *client)
{
    for (size_t i = 0; i < client->connection_count; i++)
        connection_deinit(&client->connections[i]);
    free(client->connections);
}

static void load_init(struct load *load, const struct load_options *options)
{
    load->options = options;
    load_draw_init(&load->draw, options);
    load->input_cap = INPUT_BYTES + 2 * options->value_size;
    load->input = bench_memory(load->input_cap, 1);
    load->heard_ns = load_now_ns();
    load->poll = epoll_create1(EPOLL_CLOEXEC);
    prctl(PR_SET_TIMERSLACK, 1000ul); /* 50 us otherwise */
    for (int kind = 0; kind < LOAD_KINDS; kind++) {
        struct load_form *form = &load->forms[kind];
        options->protocol->make(load, (enum load_kind)kind, form);
        if (form->bytes.failed)
            load_die("no memory");
    }
    load->clients = bench_memory(options->connections, sizeof *load->clients);
    for (uint32_t i = 0; i < options->connections; i++)
        client_init(load, i);
}

static void load_deinit(struct load *load)
{
    for (uint32_t i = 0; i < load->options->connections; i++)
        client_deinit(&load->clients[i]);
    for (int kind = 0; kind < LOAD_KINDS; kind++)
        buf_deinit(&load->forms[kind].bytes);
    codec_arena_deinit(&load->arena);
    load_draw_deinit(&load->draw);
    free(load->clients);
    free(load->routes);
    free(load->input);
    close(load->poll);
}

void load_run(const struct load_options *options, struct load_figures *out)
{
    struct load *load = bench_memory(1, sizeof *load);
    load_init(load, options);
    greet_all(load);
    if (options->fill)
        fill(load);
    if (options->seconds > 0)
        measure(load);
    drain(load, out);
    load_deinit(load);
    free(load);
}
