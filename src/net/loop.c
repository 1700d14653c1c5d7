/* SPDX-License-Identifier: Apache-2.0 */

/* Turns on libevent. */

#include "net/loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "dlht/err.h"

struct loop {
    struct event_base *base;
    struct event alarm;
    uint64_t alarm_ns; /* 0: not set */
    struct buf rooms[LOOP_ROOMS_MAX];
    size_t room_count;
    size_t room_bytes;
    uint8_t area[LOOP_HEADROOM + LOOP_READ_BYTES];
};

static void loop_on_alarm(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct loop *loop = context;
    loop->alarm_ns = 0;
}

int loop_new(struct loop **out)
{
    *out = NULL;
    struct loop *loop = malloc(sizeof *loop);
    struct event_config *config = event_config_new();
    if (!loop || !config) {
        free(loop);
        if (config)
            event_config_free(config);
        return DLHT_ENOMEM;
    }
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!loop->base) {
        free(loop);
        return DLHT_EIO;
    }
    loop->alarm_ns = 0;
    loop->room_count = loop->room_bytes = 0;
    evtimer_assign(&loop->alarm, loop->base, loop_on_alarm, loop);
    *out = loop;
    return DLHT_OK;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->room_count > 0)
        buf_deinit(&loop->rooms[--loop->room_count]);
    event_del(&loop->alarm);
    event_base_free(loop->base);
    free(loop);
}

void loop_turn(struct loop *loop, bool block)
{
    /* EVLOOP_NONBLOCK alone goes on as long as anything is ready. */
    event_base_loop(loop->base, EVLOOP_ONCE | (block ? 0 : EVLOOP_NONBLOCK));
}

void loop_alarm(struct loop *loop, uint64_t now_ns, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX || (loop->alarm_ns && loop->alarm_ns <= at_ns))
        return;
    uint64_t wait_us = at_ns > now_ns ? (at_ns - now_ns + 999) / 1000 : 0;
    if (wait_us > UINT64_C(3600000000))
        wait_us = UINT64_C(3600000000);
    struct timeval wait = { (time_t)(wait_us / 1000000),
                            (suseconds_t)(wait_us % 1000000) };
    if (event_add(&loop->alarm, &wait) == 0)
        loop->alarm_ns = now_ns + wait_us * 1000;
}

uint8_t *loop_read_area(struct loop *loop)
{
    return loop->area + LOOP_HEADROOM;
}

void loop_room_take(struct loop *loop, struct buf *room)
{
    if (loop->room_count == 0)
        return;
    buf_deinit(room);
    *room = loop->rooms[--loop->room_count];
    loop->room_bytes -= room->cap;
}

void loop_room_give(struct loop *loop, struct buf *room)
{
    if (loop->room_count == LOOP_ROOMS_MAX ||
        loop->room_bytes + room->cap > LOOP_ROOMS_BYTES) {
        buf_deinit(room);
        return;
    }
    buf_reset(room);
    loop->room_bytes += room->cap;
    loop->rooms[loop->room_count++] = *room;
    buf_init(room);
}

static void loop_on_ready(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    struct loop_watch *watch = context;
    watch->fn(watch->context, what & EV_READ, what & EV_WRITE);
}

bool loop_watch_init(struct loop *loop, struct loop_watch *watch, int fd,
                     loop_fn fn, void *context)
{
    memset(watch, 0, sizeof *watch);
    watch->fn = fn;
    watch->context = context;
    watch->read =
        event_new(loop->base, fd, EV_READ | EV_PERSIST, loop_on_ready, watch);
    watch->write =
        event_new(loop->base, fd, EV_WRITE | EV_PERSIST, loop_on_ready, watch);
    if (watch->read && watch->write)
        return true;
    loop_watch_end(watch);
    return false;
}

static bool loop_set_one(struct event *event, bool *is, bool wanted)
{
    if (*is == wanted)
        return true;
    if ((wanted ? event_add(event, NULL) : event_del(event)) != 0)
        return false;
    *is = wanted;
    return true;
}

bool loop_watch_set(struct loop_watch *watch, bool read, bool write)
{
    bool was_reading = watch->reading;
    if (!loop_set_one(watch->read, &watch->reading, read))
        return false;
    if (loop_set_one(watch->write, &watch->writing, write))
        return true;
    (void)loop_set_one(watch->read, &watch->reading, was_reading);
    return false;
}

void loop_watch_end(struct loop_watch *watch)
{
    if (watch->read)
        event_free(watch->read);
    if (watch->write)
        event_free(watch->write);
    watch->read = NULL;
    watch->write = NULL;
    watch->reading = false;
    watch->writing = false;
}
