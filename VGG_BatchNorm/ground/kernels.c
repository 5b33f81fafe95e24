/* What training on a CPU does between matrix products, at the speed of its memory.

Winograd's transforms for 3x3 convolutions (winograd.py says which and why), max pooling and GELU.
Images are (n, H, W, C), transformed tiles (36, n * h * w, C) with h, w = H / 4, W / 4, rounded up,
filters (K, 3, 3, C) and transformed filters (36, K, C): contiguous, with C a multiple of LANES.
Elements are float or, with -DBFLOAT16, bfloat16; sums are float. kernels.py compiles this file and
calls its functions. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 };  /* channels at a time */
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

#ifdef BFLOAT16  /* the upper half of a float */
typedef uint16_t element;
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));

static inline vec load(const element *from) {
    halves upper;
    memcpy(&upper, from, sizeof upper);
    return (vec)(__builtin_convertvector(upper, bits) << 16);
}

static inline void store(element *to, vec value) {  /* rounded to the nearest, ties to even */
    bits whole = (bits)value;
    halves upper = __builtin_convertvector((whole + 0x7fff + (whole >> 16 & 1)) >> 16, halves);
    memcpy(to, &upper, sizeof upper);
}
#else
typedef float element;

static inline vec load(const element *from) {
    vec value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store(element *to, vec value) { memcpy(to, &value, sizeof value); }
#endif

/* One side of Winograd's transforms, B', A', G and their adjoints: from in[0], in[step] ... to
   out[0], out[step] ... The points are 0, P, -P, Q, -Q and infinity; P * P = 1/2, Q * Q = 2. */

#define P 0.70710678118654752f
#define Q 1.41421356237309505f

static inline void input_side(const vec *in, vec *out, int step) {
    vec d0 = in[0], d1 = in[step], d2 = in[2 * step], d3 = in[3 * step], d4 = in[4 * step];
    vec even_p = d4 - 2 * d2, odd_p = P * (d3 - 2 * d1);
    vec even_q = d4 - 0.5f * d2, odd_q = Q * (d3 - 0.5f * d1);
    out[0] = d0 - 2.5f * d2 + d4;
    out[step] = even_p + odd_p;
    out[2 * step] = even_p - odd_p;
    out[3 * step] = even_q + odd_q;
    out[4 * step] = even_q - odd_q;
    out[5 * step] = d1 - 2.5f * d3 + in[5 * step];
}

static inline void input_side_adjoint(const vec *in, vec *out, int step) {
    vec first = in[0], last = in[5 * step];
    vec even_p = in[step] + in[2 * step], odd_p = P * (in[step] - in[2 * step]);
    vec even_q = in[3 * step] + in[4 * step], odd_q = Q * (in[3 * step] - in[4 * step]);
    out[0] = first;
    out[step] = last - 2 * odd_p - 0.5f * odd_q;
    out[2 * step] = -2.5f * first - 2 * even_p - 0.5f * even_q;
    out[3 * step] = odd_p + odd_q - 2.5f * last;
    out[4 * step] = first + even_p + even_q;
    out[5 * step] = last;
}

static inline void output_side(const vec *in, vec *out, int step) {
    vec even_p = in[step] + in[2 * step], odd_p = P * (in[step] - in[2 * step]);
    vec even_q = in[3 * step] + in[4 * step], odd_q = Q * (in[3 * step] - in[4 * step]);
    out[0] = in[0] + even_p + even_q;
    out[step] = odd_p + odd_q;
    out[2 * step] = 0.5f * even_p + 2 * even_q;
    out[3 * step] = 0.5f * odd_p + 2 * odd_q + in[5 * step];
}

static inline void output_side_adjoint(const vec *in, vec *out, int step) {
    vec y0 = in[0], y1 = in[step], y2 = in[2 * step], y3 = in[3 * step];
    vec even_p = y0 + 0.5f * y2, odd_p = P * (y1 + 0.5f * y3);
    vec even_q = y0 + 2 * y2, odd_q = Q * (y1 + 2 * y3);
    out[0] = y0;
    out[step] = even_p + odd_p;
    out[2 * step] = even_p - odd_p;
    out[3 * step] = even_q + odd_q;
    out[4 * step] = even_q - odd_q;
    out[5 * step] = y3;
}

static inline void filter_side(const vec *in, vec *out, int step) {
    vec g0 = in[0], g1 = in[step], g2 = in[2 * step];
    vec even_p = (g0 + 0.5f * g2) / -1.5f, odd_p = P * g1 / -1.5f;
    vec even_q = (g0 + 2 * g2) / 6, odd_q = Q * g1 / 6;
    out[0] = g0;
    out[step] = even_p + odd_p;
    out[2 * step] = even_p - odd_p;
    out[3 * step] = even_q + odd_q;
    out[4 * step] = even_q - odd_q;
    out[5 * step] = g2;
}

static inline void filter_side_adjoint(const vec *in, vec *out, int step) {
    vec even_p = (in[step] + in[2 * step]) / -1.5f, odd_p = P * (in[step] - in[2 * step]) / -1.5f;
    vec even_q = (in[3 * step] + in[4 * step]) / 6, odd_q = Q * (in[3 * step] - in[4 * step]) / 6;
    out[0] = in[0] + even_p + even_q;
    out[step] = odd_p + odd_q;
    out[2 * step] = 0.5f * even_p + 2 * even_q + in[5 * step];
}

#define FOR(i, n) for (long i = 0; i < (n); i++)
#define EACH(i, n) _Pragma("omp parallel for schedule(static)") FOR(i, n)
#define EACH_ROW(h) _Pragma("omp parallel for collapse(2) schedule(static)") \
    FOR(image, n) FOR(row, h)
#define PIXEL(y, x) (((image * H + (y)) * W + (x)) * C + c)
#define TILE(number) ((number) * n * h * w * C + ((image * h + row) * w + column) * C + c)

/* 6x6 pixels around every 4x4 tile of x, zeros outside of the image, to the transformed tiles. */
void transform_input(const element *x, element *tiles, long n, long H, long W, long C) {
    long h = (H + 3) / 4, w = (W + 3) / 4;
    EACH_ROW(h) FOR(column, w) for (long c = 0; c < C; c += LANES) {
        vec d[6][6], t[6][6];
        FOR(i, 6) FOR(j, 6) {
            long y = 4 * row + i - 1, z = 4 * column + j - 1;
            d[i][j] = 0 <= y && y < H && 0 <= z && z < W ? load(x + PIXEL(y, z)) : (vec){0};
        }
        FOR(j, 6) input_side(&d[0][j], &t[0][j], 6);
        FOR(i, 6) input_side(t[i], d[i], 1);
        FOR(i, 6) FOR(j, 6) store(tiles + TILE(6 * i + j), d[i][j]);
    }
}

/* The same, turned round: every pixel of x is the sum over the tiles that saw it. */
void transform_input_adjoint(element *x, const element *tiles, long n, long H, long W, long C) {
    long h = (H + 3) / 4, w = (W + 3) / 4, side = 4 * w + 2;
    long size = (4 * h + 2) * side * sizeof(vec);
    EACH(image, n) {
        vec *sum = aligned_alloc(sizeof(vec), size);
        if (!sum) abort();  /* out of memory */
        for (long c = 0; c < C; c += LANES) {
            memset(sum, 0, size);
            FOR(row, h) FOR(column, w) {
                vec d[6][6], t[6][6];
                FOR(i, 6) FOR(j, 6) d[i][j] = load(tiles + TILE(6 * i + j));
                FOR(j, 6) input_side_adjoint(&d[0][j], &t[0][j], 6);
                FOR(i, 6) input_side_adjoint(t[i], d[i], 1);
                FOR(i, 6) FOR(j, 6) sum[(4 * row + i) * side + 4 * column + j] += d[i][j];
            }
            FOR(y, H) FOR(z, W) store(x + PIXEL(y, z), sum[(y + 1) * side + z + 1]);
        }
        free(sum);
    }
}

/* Products of transformed tiles to 4x4 pixels of y each; those outside of the image are dropped. */
void transform_output(element *y, const element *tiles, long n, long H, long W, long C) {
    long h = (H + 3) / 4, w = (W + 3) / 4;
    EACH_ROW(h) FOR(column, w) for (long c = 0; c < C; c += LANES) {
        vec m[6][6], t[4][6];
        FOR(i, 6) FOR(j, 6) m[i][j] = load(tiles + TILE(6 * i + j));
        FOR(j, 6) output_side(&m[0][j], &t[0][j], 6);
        FOR(i, 4) output_side(t[i], m[i], 1);
        FOR(i, 4) FOR(j, 4) if (4 * row + i < H && 4 * column + j < W)
            store(y + PIXEL(4 * row + i, 4 * column + j), m[i][j]);
    }
}

void transform_output_adjoint(const element *y, element *tiles, long n, long H, long W, long C) {
    long h = (H + 3) / 4, w = (W + 3) / 4;
    EACH_ROW(h) FOR(column, w) for (long c = 0; c < C; c += LANES) {
        vec m[6][6], t[6][6];
        FOR(i, 4) FOR(j, 4) m[i][j] = 4 * row + i < H && 4 * column + j < W
            ? load(y + PIXEL(4 * row + i, 4 * column + j)) : (vec){0};
        FOR(i, 4) output_side_adjoint(m[i], t[i], 1);
        FOR(j, 6) output_side_adjoint(&t[0][j], &m[0][j], 6);
        FOR(i, 6) FOR(j, 6) store(tiles + TILE(6 * i + j), m[i][j]);
    }
}

/* 3x3 filters to the transformed ones. */
void transform_filter(const element *filters, element *u, long K, long H, long W, long C) {
    EACH(k, K) for (long c = 0; c < C; c += LANES) {
        vec g[3][3], t[6][3], out[6][6];
        FOR(i, 3) FOR(j, 3) g[i][j] = load(filters + (9 * k + 3 * i + j) * C + c);
        FOR(j, 3) filter_side(&g[0][j], &t[0][j], 3);
        FOR(i, 6) filter_side(t[i], out[i], 1);
        FOR(i, 6) FOR(j, 6) store(u + ((6 * i + j) * K + k) * C + c, out[i][j]);
    }
}

/* Its adjoint, added to what is in `filters`, which are float. */
void transform_filter_adjoint(float *filters, const element *u, long K, long H, long W, long C) {
    EACH(k, K) for (long c = 0; c < C; c += LANES) {
        vec m[6][6], t[6][3], g[3][3];
        FOR(i, 6) FOR(j, 6) m[i][j] = load(u + ((6 * i + j) * K + k) * C + c);
        FOR(i, 6) filter_side_adjoint(m[i], t[i], 1);
        FOR(j, 3) filter_side_adjoint(&t[0][j], &g[0][j], 3);
        FOR(i, 3) FOR(j, 3) {
            float *sum = filters + (9 * k + 3 * i + j) * C + c;
            FOR(lane, LANES) sum[lane] += g[i][j][lane];
        }
    }
}

static inline vec choose(bits mask, vec yes, vec no) {
    return (vec)((mask & (bits)yes) | (~mask & (bits)no));
}

/* The largest of 2x2 pixels from x on, and which it is, 0 to 3: the first of equals; but the last
   NaN, if there is one, as in torch. */
static inline vec largest_of(const element *x, long W, long C, bits *which) {
    vec largest = load(x);
    *which = (bits){0};
    FOR(k, 4) {
        vec value = load(x + (k / 2 * W + k % 2) * C);
        bits larger = (bits)(value > largest) | (bits)(value != value);
        largest = choose(larger, value, largest);
        *which = (larger & (uint32_t)k) | (~larger & *which);
    }
    return largest;
}

#define POOLED (((image * (H / 2) + row) * (W / 2) + column) * C + c)

/* The largest of every 2x2 pixels of x; H and W are even. */
void max_pool(const element *x, element *y, long n, long H, long W, long C) {
    EACH_ROW(H / 2) FOR(column, W / 2) for (long c = 0; c < C; c += LANES) {
        bits which;
        store(y + POOLED, largest_of(x + PIXEL(2 * row, 2 * column), W, C, &which));
    }
}

/* The gradient dx from dy, that of the pooled x: the largest of four pixels has it all. */
void max_pool_adjoint(const element *x, element *dx, const element *dy,
                      long n, long H, long W, long C) {
    EACH_ROW(H / 2) FOR(column, W / 2) for (long c = 0; c < C; c += LANES) {
        long corner = PIXEL(2 * row, 2 * column);
        vec gradient = load(dy + POOLED);
        bits which;
        largest_of(x + corner, W, C, &which);
        FOR(k, 4) store(dx + corner + (k / 2 * W + k % 2) * C,
                        choose((bits)(which == (uint32_t)k), gradient, (vec){0}));
    }
}

/* exp(-x * x / 2), to 3e-6: a power of two, its whole part by the exponent's bits, the rest, within
   a half, by the first terms of its series. */
static inline vec bell(vec x) {
    vec power = x * x * -0.72134752f;
    power = choose((bits)(power > -126), power, (vec){0} - 126);
    ints whole = __builtin_convertvector(power - 0.5f, ints);
    vec rest = power - __builtin_convertvector(whole, vec);
    vec value = 1 + rest * (0.69314718f + rest * (0.24022651f + rest * (0.05550411f
        + rest * (0.00961813f + rest * 0.00133336f))));
    return value * (vec)((whole + 127) << 23);
}

/* The share of a normal distribution below x, from its bell: Abramowitz & Stegun 1964, 7.1.26. */
static inline vec below(vec x, vec bell) {
    bits negative = (bits)(x < 0);
    vec t = 1 / (1 + 0.23164190f * choose(negative, -x, x));
    vec tail = bell * t * (0.127414796f + t * (-0.142248368f + t * (0.7107068705f
        + t * (-0.7265760135f + t * 0.5307027145f))));
    return choose(negative, tail, 1 - tail);
}

void gelu(const element *x, element *y, long n, long H, long W, long C) {
    EACH(i, n * H * W * C / LANES) {
        vec value = load(x + i * LANES);
        store(y + i * LANES, value * below(value, bell(value)));
    }
}

void gelu_adjoint(const element *x, element *dx, const element *dy,
                  long n, long H, long W, long C) {
    EACH(i, n * H * W * C / LANES) {
        vec value = load(x + i * LANES), height = bell(value);
        vec slope = below(value, height) + 0.39894228f * value * height;
        store(dx + i * LANES, slope * load(dy + i * LANES));
    }
}
