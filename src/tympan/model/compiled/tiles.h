/* AMX: tiles of 16 rows of 64 bytes, and their products.
 *
 * On a core that is shared with another thread, be it another machine's, few operations on tiles can be under
 * way: each waits until one before has given back a register, and a product with its load takes 24 ns for 5.
 * A tile that is zero takes no register. So a tile is set to zero once it has been used: 13 ns. And what else
 * is to be done costs nothing there, if it is done between products.
 */
#ifndef TYMPAN_TILES_H
#define TYMPAN_TILES_H

#include <immintrin.h>
#include <stdint.h>

#define TILE 16         /* rows of a tile, and float32 numbers or pairs of bfloat16 ones in each */
#define PAIR (2 * TILE) /* bfloat16 numbers in a row of a tile */

#if defined(__AVX512F__) && !defined(__clang__) && __GNUC__ >= 11
#define HAS_TILES 1

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16")

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* GCC does not know that loading a tile reads memory. */
#define ALL_IS_WRITTEN __asm__ volatile("" ::: "memory")

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} __attribute__((packed)) Configuration;

static inline void configure_tiles(void) {
    Configuration tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.row_bytes[i] = 4 * TILE, tiles.rows[i] = TILE;
    _tile_loadconfig(&tiles);
}

#pragma GCC pop_options

#else
#define HAS_TILES 0
#endif

#endif
