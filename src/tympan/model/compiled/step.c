/* One token more for every row, or a few: what lean_step.py does in PyTorch's operations, in a single call. A
 * step waits for memory; as some 150 operations, whose code and whose numbers come from memory too, it waits
 * nearly twice as long.
 *
 * Shapes: N rows that get T tokens each, D width, H heads of K = D / H channels, B windows with N / B rows
 * each. Whatever is read in vectors has a multiple of LANES numbers; arrays are contiguous where no strides
 * are given.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "audio.h"
#include "linear.h"
#include "vectors.h"

#define READ_AT_ONCE 4 /* vectors of a head's channels */
#define EACH_READ _Pragma("GCC unroll 4") for (int i = 0; i < READ_AT_ONCE; i++)

typedef struct {
    Norm self_norm, cross_norm, final_norm;
    Linear qkv, self_out, queries, cross_out, fc1, fc2;
    const int64_t *spared; /* inputs of fc2 that stay exact, and their weights [spared, D] */
    const float *exact;
} Layer;

typedef struct {
    int64_t n_layers, width, n_heads, n_inner, n_spared, activation;
    float epsilon;
    const Layer *layers;
    Norm norm;
} Decoder;

/* What the layers remember: bases of each layer's buffers, float16, and how many numbers apart rows and heads
 * are. */
typedef struct {
    uint16_t *const *keys, *const *values;
    int64_t row_stride, head_stride, length;
    int64_t n_tokens;  /* that each row gets */
    const float *mask; /* added to the scores of all columns; null: nothing */
    int64_t mask_stride;
} Text;

/* Text attention of a token to those before it and itself, from column `first` on, of one head. `keys` and
 * `values` are the row's; those of the next head lie `ahead` numbers further, and are asked of memory. */
static void read_back(const float *query, const uint16_t *keys, const uint16_t *values, int64_t first,
                      int64_t n_columns, int64_t n_channels, int64_t ahead, const float *mask, float *scores,
                      float *read) {
    float factor = 1.0f / sqrtf(n_channels), most = -INFINITY;
    for (int64_t column = first; column < n_columns; column++) {
        Floats products = all(0.0f);
        for (int64_t i = 0; i < n_channels; i += LANES) {
            _mm_prefetch(values + column * n_channels + i, _MM_HINT_T0);
            products += load(query + i) * of_halves(keys + column * n_channels + i);
        }
        float score = sum(products) * factor;
        if (mask) score += mask[column];
        scores[column] = score;
        most = score > most ? score : most;
    }
    float of_all = 0.0f;
    for (int64_t column = first; column < n_columns; column += LANES) {
        int64_t n_left = n_columns - column;
        for (int64_t i = n_left; i < LANES; i++) scores[column + i] = -INFINITY;
        Floats shares = exponential(load(scores + column) - most);
        store(scores + column, shares);
        of_all += sum(shares);
    }
    for (int64_t start = 0; start < n_channels; start += READ_AT_ONCE * LANES) {
        int64_t n_left = (n_channels - start) / LANES;
        Floats heard[READ_AT_ONCE];
        EACH_READ heard[i] = all(0.0f);
        for (int64_t column = first; column < n_columns; column++) {
            const uint16_t *here = values + column * n_channels + start;
            Floats share = all(scores[column]);
            EACH_READ {
                int64_t place = (i < n_left ? i : 0) * LANES;
                _mm_prefetch(keys + ahead + column * n_channels + start + place, _MM_HINT_T0);
                heard[i] += share * of_halves(here + place);
            }
        }
        EACH_READ if (i < n_left) store(read + start + i * LANES, heard[i] / of_all);
    }
}

/* The same of all tokens of a row. `qkv` holds the first one's query, key and value, a width apart; the next
 * one's follow, and results lie a width apart too. */
static void read_text(const float *qkv, int64_t width, int64_t n_channels, const Text *text, int64_t layer,
                      int64_t row, int64_t head, float *scores, float *read) {
    int64_t place = row * text->row_stride + head * text->head_stride;
    uint16_t *keys = text->keys[layer] + place, *values = text->values[layer] + place;
    const float *mask = text->mask ? text->mask + row * text->mask_stride : NULL;
    int64_t first = 0;
    while (mask && first < text->length && mask[first] == -INFINITY) first++;
    for (int64_t token = 0; token < text->n_tokens; token++) {
        const float *key = qkv + (3 * token + 1) * width, *value = key + width;
        int64_t column = (text->length + token) * n_channels;
        for (int64_t i = 0; i < n_channels; i += LANES) {
            store_halves(keys + column + i, load(key + i));
            store_halves(values + column + i, load(value + i));
        }
    }
    for (int64_t token = 0; token < text->n_tokens; token++)
        read_back(qkv + 3 * token * width, keys, values, first, text->length + token + 1, n_channels,
                  text->head_stride, mask, scores, read + token * width);
}

/* Where a step keeps what it makes: for all threads, and, from `of_threads` on, for each of them. */
typedef struct {
    int64_t read, inner, of_threads; /* bytes from the start; the queries, keys and values come first */
    int64_t n_scores, n_states;      /* numbers of a thread, which has its rounded rows behind them */
    int64_t bytes_per_thread;
} Room;

static Room room_for(const Decoder *decoder, const Text *text, const Audio *audio, int64_t n_rows) {
    int64_t width = decoder->width, n_inner = decoder->n_inner, line = 64;
    int64_t of_text = text->length + text->n_tokens + LANES;
    int64_t of_audio = hear_bytes(audio->n_positions, width / decoder->n_heads) / 4 + 1;
    Room room;
    room.read = n_rows * 3 * width * 4;
    room.inner = room.read + n_rows * width * 4;
    room.of_threads = room.inner + n_rows * n_inner * 4;
    room.n_scores = of_text > of_audio ? of_text : of_audio;
    room.n_states = n_inner > width ? n_inner : width;
    room.bytes_per_thread = 4 * room.n_scores + 4 * room.n_states + n_rows * (8 + room.n_states);
    room.bytes_per_thread = (room.bytes_per_thread / line + 2) * line;
    return room;
}

/* Bytes of memory that `tympan_step` wants for this. */
int64_t tympan_step_bytes(const Decoder *decoder, const Text *text, const Audio *audio, int64_t n_rows,
                          int32_t n_threads) {
    Room room = room_for(decoder, text, audio, n_rows);
    return room.of_threads + n_threads * room.bytes_per_thread;
}

/* Embedded states [N, T, D], of which `n_rows` are all N * T, become those behind the last norm; the text's
 * next columns are written. */
void tympan_step(const Decoder *decoder, const Text *text, const Audio *audio, int64_t n_rows, float *states,
                 char *memory, int32_t n_threads) {
    int64_t width = decoder->width, n_heads = decoder->n_heads, n_channels = width / n_heads;
    int64_t n_inner = decoder->n_inner, n_queries = n_rows / audio->n_windows;
    Room room = room_for(decoder, text, audio, n_rows);
    float *qkv = (float *)memory, *read = (float *)(memory + room.read),
          *inner = (float *)(memory + room.inner);
#pragma omp parallel num_threads(n_threads)
    {
        char *own = memory + room.of_threads + omp_get_thread_num() * room.bytes_per_thread;
        float *scores = (float *)own, *row_states = scores + room.n_scores;
        Rounded rounded;
        rounded.scales = row_states + room.n_states;
        rounded.zeros = (int32_t *)(rounded.scales + n_rows);
        rounded.bytes = (uint8_t *)(rounded.zeros + n_rows);
        for (int64_t index = 0; index < decoder->n_layers; index++) {
            const Layer *layer = decoder->layers + index;
            normalise_and_round(states, layer->self_norm, decoder->epsilon, width, n_rows, row_states,
                                rounded);
            EACH_BLOCK (&layer->qkv)
                multiply_block(&layer->qkv, block, rounded, n_rows, qkv, 3 * width, STORE);
#pragma omp for schedule(static)
            for (int64_t item = 0; item < n_rows / text->n_tokens * n_heads; item++) {
                int64_t row = item / n_heads, head = item % n_heads, first = row * text->n_tokens * width;
                read_text(qkv + 3 * first + head * n_channels, width, n_channels, text, index, row, head,
                          scores, read + first + head * n_channels);
            }
            for (int64_t row = 0; row < n_rows; row++) round_row(read + row * width, width, rounded, row);
            EACH_BLOCK (&layer->self_out)
                multiply_block(&layer->self_out, block, rounded, n_rows, states, width, ADD);
            normalise_and_round(states, layer->cross_norm, decoder->epsilon, width, n_rows, row_states,
                                rounded);
            EACH_BLOCK (&layer->queries)
                multiply_block(&layer->queries, block, rounded, n_rows, qkv, width, STORE);
#pragma omp for schedule(static)
            for (int64_t item = 0; item < audio->n_windows * n_heads; item++) {
                int64_t window = item / n_heads, head = item % n_heads;
                int64_t place = window * n_queries * width + head * n_channels;
                hear(audio, index, window, head, n_heads, n_channels, qkv + place, n_queries, width,
                     read + place, (char *)scores);
            }
            for (int64_t row = 0; row < n_rows; row++) round_row(read + row * width, width, rounded, row);
            EACH_BLOCK (&layer->cross_out)
                multiply_block(&layer->cross_out, block, rounded, n_rows, states, width, ADD);
            normalise_and_round(states, layer->final_norm, decoder->epsilon, width, n_rows, row_states,
                                rounded);
            EACH_BLOCK (&layer->fc1)
                multiply_block(&layer->fc1, block, rounded, n_rows, inner, n_inner, decoder->activation);
            for (int64_t row = 0; row < n_rows; row++) {
                memcpy(row_states, inner + row * n_inner, n_inner * sizeof(float));
                for (int64_t i = 0; i < decoder->n_spared; i++) row_states[layer->spared[i]] = 0.0f;
                round_row(row_states, n_inner, rounded, row);
            }
            EACH_BLOCK (&layer->fc2) {
                multiply_block(&layer->fc2, block, rounded, n_rows, states, width, ADD);
                for (int64_t row = 0; row < n_rows; row++) {
                    float *place = states + row * width + block * LANES;
                    Floats total = load(place);
                    for (int64_t i = 0; i < decoder->n_spared; i++)
                        total += inner[row * n_inner + layer->spared[i]] *
                                 load(layer->exact + i * width + block * LANES);
                    store(place, total);
                }
            }
        }
#pragma omp for schedule(static)
        for (int64_t row = 0; row < n_rows; row++)
            normalise(states + row * width, decoder->norm, decoder->epsilon, width, states + row * width);
    }
}
