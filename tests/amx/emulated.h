/* AMX in plain C, included before each source: what its tiles hold and what their products are.
 *
 * Source: Intel's instruction set reference, TDPBF16PS, TILELOADD, TILESTORED. A tile has 16 rows of 64 bytes
 * here, as the sources configure them all; and a thread that has configured none has no tiles, as there. Each
 * source has tiles of its own.
 */
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t configuration[64];
    uint8_t rows[8][16][64];
} EmulatedTiles;

static __thread EmulatedTiles emulated;

static inline void emulated_need(int tile) {
    const uint8_t *rows = emulated.configuration + 48;
    uint16_t row_bytes;
    memcpy(&row_bytes, emulated.configuration + 16 + 2 * tile, 2);
    if (emulated.configuration[0] != 1 || rows[tile] != 16 || row_bytes != 64) abort();
}

static inline void emulated_configure(const void *from) {
    memcpy(emulated.configuration, from, 64);
    memset(emulated.rows, 0, sizeof(emulated.rows));
}

static inline void emulated_zero(int tile) {
    emulated_need(tile);
    memset(emulated.rows[tile], 0, sizeof(emulated.rows[tile]));
}

static inline void emulated_load(int tile, const void *base, int64_t stride) {
    emulated_need(tile);
    for (int row = 0; row < 16; row++)
        memcpy(emulated.rows[tile][row], (const char *)base + row * stride, 64);
}

static inline void emulated_store(int tile, void *base, int64_t stride) {
    emulated_need(tile);
    for (int row = 0; row < 16; row++) memcpy((char *)base + row * stride, emulated.rows[tile][row], 64);
}

static inline float emulated_number(const uint8_t *bfloat16) {
    uint32_t bits = (uint32_t)bfloat16[1] << 24 | (uint32_t)bfloat16[0] << 16;
    float number;
    memcpy(&number, &bits, 4);
    return number;
}

static inline void emulated_multiply(int sum, int left, int right) {
    emulated_need(sum), emulated_need(left), emulated_need(right);
    for (int row = 0; row < 16; row++) {
        float totals[16], numbers[2][32];
        memcpy(totals, emulated.rows[sum][row], 64);
        for (int i = 0; i < 32; i++) numbers[0][i] = emulated_number(emulated.rows[left][row] + 2 * i);
        for (int pair = 0; pair < 16; pair++) {
            for (int i = 0; i < 32; i++) numbers[1][i] = emulated_number(emulated.rows[right][pair] + 2 * i);
            for (int column = 0; column < 16; column++) {
                totals[column] += numbers[0][2 * pair] * numbers[1][2 * column];
                totals[column] += numbers[0][2 * pair + 1] * numbers[1][2 * column + 1];
            }
        }
        memcpy(emulated.rows[sum][row], totals, 64);
    }
}

#undef _tile_loadconfig
#undef _tile_storeconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig(from) emulated_configure(from)
#define _tile_storeconfig(to) memcpy(to, emulated.configuration, 64)
#define _tile_release() memset(&emulated, 0, sizeof(emulated))
#define _tile_zero(tile) emulated_zero(tile)
#define _tile_loadd(tile, base, stride) emulated_load(tile, base, stride)
#define _tile_stored(tile, base, stride) emulated_store(tile, base, stride)
#define _tile_dpbf16ps(sum, left, right) emulated_multiply(sum, left, right)

/* Whether the system lets a process use tiles is asked of it by number; here it does. */
#include <sys/syscall.h>
#include <unistd.h>
#define syscall(...) 0
