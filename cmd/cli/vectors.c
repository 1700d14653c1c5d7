/* SPDX-License-Identifier: Apache-2.0 */

/* Reading and printing vectors. */

#include "vectors.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLOAT_DIGITS_MIN = 6,
    FLOAT_DIGITS_MAX = 9, /* tell all floats apart */
    NPY_MAGIC = 6,
    NPY_HEAD_MAX = 65536
};

bool vectors_parse(struct dlht_bytes text, float **values, uint32_t *dim,
                   const char **why)
{
    char *copy = malloc(text.len + 1);
    float *list = malloc((text.len / 2 + 1) * sizeof(*list));
    char *at = copy;
    size_t count = 0;
    bool bracket, done = false;

    *values = NULL;
    *dim = 0;
    *why = "numbers are meant, as in \"1 2.5 -3\" or \"[1, 2.5, -3]\"";
    if (!copy || !list)
        goto end;
    if (text.len)
        memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    at += strspn(at, " ");
    bracket = *at == '[';
    at += bracket;
    for (;;) {
        char *end;
        at += strspn(at, " \t\r\n");
        if (*at == 0 || *at == ']')
            break;
        list[count] = strtof(at, &end);
        if (end == at || (*end && !strchr(" \t\r\n,]", *end)))
            goto end;
        count++;
        at = end + strspn(end, " \t\r\n");
        if (*at == ',')
            at++;
    }
    if (bracket && *at++ != ']')
        goto end;
    if (count == 0 || at + strspn(at, " \t\r\n") != copy + text.len)
        goto end;
    *why = "a vector has at most 16384 numbers";
    done = count <= DLHT_VECTOR_DIM_MAX;
end:
    free(copy);
    if (!done) {
        free(list);
        return false;
    }
    *values = list;
    *dim = (uint32_t)count;
    return true;
}

static void print_number(float number)
{
    char text[32];

    for (int digits = FLOAT_DIGITS_MIN; digits <= FLOAT_DIGITS_MAX; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)number);
        if (strtof(text, NULL) == number)
            break;
    }
    fputs(isfinite(number) ? text : "null", stdout);
}

void vectors_print(const float *values, uint32_t dim)
{
    putchar('[');
    for (uint32_t i = 0; i < dim; i++) {
        if (i)
            putchar(',');
        print_number(values[i]);
    }
    putchar(']');
}

bool vectors_format_of(const char *name, enum vectors_format *format)
{
    static const struct {
        const char *end;
        enum vectors_format format;
    } ends[] = { { ".fvecs", VECTORS_FVECS },
                 { ".npy", VECTORS_NPY },
                 { ".jsonl", VECTORS_JSONL },
                 { ".ndjson", VECTORS_JSONL },
                 { ".json", VECTORS_JSONL } };
    size_t len = strlen(name);

    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        size_t n = strlen(ends[i].end);
        if (len > n && strcmp(name + len - n, ends[i].end) == 0) {
            *format = ends[i].format;
            return true;
        }
    }
    return false;
}

/* False, always: the file is no good from here on. */
__attribute__((format(printf, 2, 3))) static bool
broken(struct vectors_file *f, const char *format, ...)
{
    va_list args;

    f->broken = true;
    va_start(args, format);
    vsnprintf(f->why, sizeof(f->why), format, args);
    va_end(args);
    return false;
}

/* Up to len bytes; how many came. */
static size_t take(struct vectors_file *f, void *to, size_t len)
{
    size_t n = fread(to, 1, len, f->file);

    f->at += n;
    return n;
}

static uint32_t little32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static float float_at(const uint8_t *p)
{
    uint32_t bits = little32(p);
    float number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

static double double_at(const uint8_t *p)
{
    uint64_t bits = (uint64_t)little32(p) | (uint64_t)little32(p + 4) << 32;
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

/* Memory for a row of f->dim numbers. */
static bool make_row(struct vectors_file *f)
{
    f->bytes = malloc((size_t)f->dim * sizeof(double));
    f->values = malloc((size_t)f->dim * sizeof(*f->values));
    return f->bytes && f->values ? true : broken(f, "out of memory");
}

/* What stands behind 'name': in the head of an npy file, which is a Python
 * dictionary on one line; NULL: it is not there. */
static const char *npy_field(const char *head, const char *name)
{
    char quoted[32];
    const char *at;

    snprintf(quoted, sizeof(quoted), "'%s':", name);
    at = strstr(head, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

/* (ROWS, DIM), or with a comma behind them. */
static bool npy_shape(struct vectors_file *f, const char *at)
{
    unsigned long long rows, dim;
    char *end;

    if (*at++ != '(' || *at < '0' || *at > '9')
        return false;
    errno = 0;
    rows = strtoull(at, &end, 10);
    end += strspn(end, " ");
    if (*end++ != ',')
        return false;
    end += strspn(end, " ");
    if (*end < '0' || *end > '9')
        return false;
    dim = strtoull(end, &end, 10);
    end += strspn(end, " ,");
    if (*end != ')' || errno || dim == 0 || dim > DLHT_VECTOR_DIM_MAX)
        return false;
    f->rows = rows;
    f->dim = (uint32_t)dim;
    return true;
}

static bool npy_head(struct vectors_file *f, const char *head)
{
    const char *descr = npy_field(head, "descr");
    const char *order = npy_field(head, "fortran_order");
    const char *shape = npy_field(head, "shape");

    if (!descr || !order || !shape)
        return broken(f,
                      "byte %d: the head does not say descr, fortran_order "
                      "and shape",
                      NPY_MAGIC);
    f->is_double = strncmp(descr, "'<f8'", 5) == 0;
    if (!f->is_double && strncmp(descr, "'<f4'", 5) != 0)
        return broken(f,
                      "byte %d: descr is %.8s; '<f4' or '<f8' is meant: "
                      "little-endian floats",
                      NPY_MAGIC, descr);
    if (strncmp(order, "False", 5) != 0)
        return broken(f,
                      "byte %d: the array is in Fortran's order; save "
                      "numpy.ascontiguousarray of it",
                      NPY_MAGIC);
    if (!npy_shape(f, shape))
        return broken(f,
                      "byte %d: shape is %.40s; two dimensions are meant, "
                      "rows and 1 to %d numbers of each",
                      NPY_MAGIC, shape, DLHT_VECTOR_DIM_MAX);
    return make_row(f);
}

/* The magic, version, length of the head, and the head. */
static bool npy_open(struct vectors_file *f)
{
    uint8_t begin[12];
    uint32_t len;
    char *head;
    bool done;
    size_t width;

    if (take(f, begin, 8) != 8 || memcmp(begin, "\x93NUMPY", NPY_MAGIC) != 0)
        return broken(f, "byte 0: not a file that numpy.save wrote");
    if (begin[6] < 1 || begin[6] > 3)
        return broken(f, "byte 6: version %u of npy is not known", begin[6]);
    width = begin[6] == 1 ? 2 : 4;
    if (take(f, begin + 8, width) != width)
        return broken(f, "byte %" PRIu64 ": the file ends in its head", f->at);
    len =
        width == 2 ? (uint32_t)(begin[8] | begin[9] << 8) : little32(begin + 8);
    if (len > NPY_HEAD_MAX)
        return broken(f, "byte 8: a head of %" PRIu32 " bytes is too long",
                      len);
    head = malloc(len + 1);
    if (!head)
        return broken(f, "out of memory");
    done = take(f, head, len) == len ||
           broken(f, "byte %" PRIu64 ": the file ends in its head", f->at);
    head[len] = 0;
    done = done && npy_head(f, head);
    free(head);
    return done;
}

bool vectors_open(struct vectors_file *f, FILE *file,
                  enum vectors_format format, uint64_t ids_from)
{
    memset(f, 0, sizeof(*f));
    f->file = file;
    f->format = format;
    f->ids_from = ids_from;
    return format != VECTORS_NPY || npy_open(f);
}

void vectors_close(struct vectors_file *f)
{
    free(f->bytes);
    free(f->values);
    free(f->line);
    free(f->parsed.values);
    memset(f, 0, sizeof(*f));
}

/* The id of a row, which has been read. */
static enum vectors_next hand_out(struct vectors_file *f,
                                  struct dlht_vector *out)
{
    int n = snprintf(f->id, sizeof(f->id), "%" PRIu64, f->ids_from + f->row++);

    *out = (struct dlht_vector){ .id = { f->id, (size_t)n },
                                 .values = f->values,
                                 .dim = f->dim };
    return VECTORS_ONE;
}

static enum vectors_next next_npy(struct vectors_file *f,
                                  struct dlht_vector *out)
{
    size_t width = f->is_double ? sizeof(double) : sizeof(float);
    size_t len = f->dim * width;

    if (f->row == f->rows)
        return VECTORS_END;
    if (take(f, f->bytes, len) != len) {
        broken(f,
               "byte %" PRIu64 ": the file ends in row %" PRIu64 " of %" PRIu64,
               f->at, f->row, f->rows);
        return VECTORS_BAD;
    }
    for (uint32_t i = 0; i < f->dim; i++) {
        const uint8_t *p = f->bytes + i * width;
        double wide = f->is_double ? double_at(p) : 0;
        if (f->is_double && isfinite(wide) && fabs(wide) > (double)FLT_MAX) {
            snprintf(f->why, sizeof(f->why),
                     "row %" PRIu64 ": number %" PRIu32 " is %.9g, which is "
                     "beyond float32",
                     f->row++, i, wide);
            return VECTORS_BAD;
        }
        f->values[i] = f->is_double ? (float)wide : float_at(p);
    }
    return hand_out(f, out);
}

/* The dim before a row of fvecs. */
static bool fvecs_dim(struct vectors_file *f, const uint8_t *head)
{
    uint32_t dim = little32(head);
    uint64_t at = f->at - sizeof(dim);

    if (dim == 0 || dim > DLHT_VECTOR_DIM_MAX)
        return broken(f,
                      "byte %" PRIu64 ": row %" PRIu64 " has %" PRId32
                      " numbers; 1 to %d are meant (is this a file of "
                      "fvecs?)",
                      at, f->row, (int32_t)dim, DLHT_VECTOR_DIM_MAX);
    if (f->dim && dim != f->dim)
        return broken(f,
                      "byte %" PRIu64 ": row %" PRIu64 " has %" PRIu32
                      " numbers, those before have %" PRIu32,
                      at, f->row, dim, f->dim);
    if (f->dim)
        return true;
    f->dim = dim;
    return make_row(f);
}

static enum vectors_next next_fvecs(struct vectors_file *f,
                                    struct dlht_vector *out)
{
    uint8_t head[4];
    size_t n = take(f, head, sizeof(head));
    size_t len;

    if (n == 0 && !ferror(f->file))
        return VECTORS_END;
    if (n == sizeof(head) && !fvecs_dim(f, head))
        return VECTORS_BAD;
    len = (size_t)f->dim * sizeof(float);
    if (n != sizeof(head) || take(f, f->bytes, len) != len) {
        broken(f, "byte %" PRIu64 ": the file %s in row %" PRIu64, f->at,
               ferror(f->file) ? "cannot be read on" : "ends", f->row);
        return VECTORS_BAD;
    }
    for (uint32_t i = 0; i < f->dim; i++)
        f->values[i] = float_at(f->bytes + i * sizeof(float));
    return hand_out(f, out);
}

static enum vectors_next next_jsonl(struct vectors_file *f,
                                    struct dlht_vector *out)
{
    ssize_t len = getline(&f->line, &f->line_cap, f->file);
    const char *why;

    if (len < 0 && !ferror(f->file))
        return VECTORS_END;
    f->row++;
    if (len < 0) {
        broken(f, "line %" PRIu64 ": the file cannot be read on", f->row);
        return VECTORS_BAD;
    }
    if (len > 0 && f->line[len - 1] == '\n')
        f->line[--len] = 0;
    if (!jsonl_read_vector(f->line, (size_t)len, DLHT_VECTOR_DIM_MAX,
                           &f->parsed, &why)) {
        snprintf(f->why, sizeof(f->why), "line %" PRIu64 ": %s", f->row, why);
        return VECTORS_BAD;
    }
    *out = (struct dlht_vector){ .id = f->parsed.id,
                                 .values = f->parsed.values,
                                 .dim = (uint32_t)f->parsed.count,
                                 .meta = f->parsed.meta };
    return VECTORS_ONE;
}

enum vectors_next vectors_next(struct vectors_file *f, struct dlht_vector *out)
{
    if (f->broken)
        return VECTORS_END;
    switch (f->format) {
    case VECTORS_FVECS:
        return next_fvecs(f, out);
    case VECTORS_NPY:
        return next_npy(f, out);
    case VECTORS_JSONL:
    default:
        return next_jsonl(f, out);
    }
}
