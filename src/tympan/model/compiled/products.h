/* Products of a few rows of bytes with a few vectors of weights, whose sums fill the registers: what is read
 * for them is then used most often. */
#ifndef TYMPAN_PRODUCTS_H
#define TYMPAN_PRODUCTS_H

#include <stdint.h>

#include "vectors.h"

#define GROUP 4                    /* bytes whose products with as many weights one instruction sums */
#define ROWS BY_REGISTERS(6, 4)    /* whose sums are in registers */
#define VECTORS BY_REGISTERS(4, 2) /* of weights side by side, each of LANES groups */

#define EACH_VECTOR _Pragma("GCC unroll 4") for (int i = 0; i < VECTORS; i++)
#define EACH_ROW _Pragma("GCC unroll 6") for (int row = 0; row < ROWS; row++)
#define EACH_SUM EACH_ROW EACH_VECTOR

/* Left to itself, GCC has more products under way than there are registers. */
#define IN_THIS_ORDER(sum) __asm__ volatile("" : "+v"(sum))

/* Add to `sums` the products of `n` groups of each row with those of each vector. Rows, vectors, and a
 * vector's next groups lie so many bytes apart. */
static inline __attribute__((always_inline)) void sum_products(const uint8_t *rows, int64_t row_stride,
                                                               const int8_t *weights, int64_t vector_stride,
                                                               int64_t group_stride, int64_t n,
                                                               Ints sums[ROWS][VECTORS]) {
    for (int64_t place = 0; place < n; place++) {
        Ints here[VECTORS];
        EACH_VECTOR here[i] = load_ints(weights + i * vector_stride + place * group_stride);
        EACH_SUM {
            sums[row][i] = add_products(sums[row][i], rows + row * row_stride + place * GROUP, here[i]);
            IN_THIS_ORDER(sums[row][i]);
        }
    }
}

#endif
