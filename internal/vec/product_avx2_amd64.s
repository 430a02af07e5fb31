#include "textflag.h"

// Products of stored rows with float32 columns, AVX2 with FMA and F16C.
//
// Every output owns one 8-lane accumulator, whatever the shape of its tile: k
// runs in steps of 8, in order. REDUCE4 adds the lanes of four accumulators in
// one fixed tree. The last n%8 elements, which no 16-bit load can mask, are
// then added to the sums one by one, four rows in the lanes of one register.
// So the bits of an output depend on its row and column alone.

// Weights of 16 elements at m, widened: LO the first 8, HI the last 8. LAST
// gathers one element of each of four rows: (p), (p)(BX*1), ...
#define BF16LO(m, y) VPMOVZXWD m, y; VPSLLD $16, y, y
#define BF16HI(m, y) VPMOVZXWD 16 m, y; VPSLLD $16, y, y
#define BF16LAST(p, y) \
	VPXOR   y, y, y;                \
	VPINSRW $1, (p), y, y;          \
	VPINSRW $3, (p)(BX*1), y, y;    \
	VPINSRW $5, (p)(BX*2), y, y;    \
	VPINSRW $7, (p)(CX*1), y, y

#define F16LO(m, y) VCVTPH2PS m, y
#define F16HI(m, y) VCVTPH2PS 16 m, y
#define F16LAST(p, y) \
	VPXOR     y, y, y;                \
	VPINSRW   $0, (p), y, y;          \
	VPINSRW   $1, (p)(BX*1), y, y;    \
	VPINSRW   $2, (p)(BX*2), y, y;    \
	VPINSRW   $3, (p)(CX*1), y, y;    \
	VCVTPH2PS y, y

#define F32LO(m, y) VMOVUPS m, y
#define F32HI(m, y) VMOVUPS 32 m, y
#define F32LAST(p, y) \
	VPXOR   y, y, y;                \
	VPINSRD $0, (p), y, y;          \
	VPINSRD $1, (p)(BX*1), y, y;    \
	VPINSRD $2, (p)(BX*2), y, y;    \
	VPINSRD $3, (p)(CX*1), y, y

#define ZERO4(a, b, c, d) \
	VPXOR a, a, a; \
	VPXOR b, b, b; \
	VPXOR c, c, c; \
	VPXOR d, d, d

// REDUCE4 leaves the four sums of a, b, c, d in x, the lower half of a.
// Clobbers c and X15.
#define REDUCE4(a, b, c, d, x) \
	VHADDPS      b, a, a;    \
	VHADDPS      d, c, c;    \
	VHADDPS      c, a, a;    \
	VEXTRACTF128 $1, a, X15; \
	VADDPS       X15, x, x

// Tiles of 4 rows by 3 columns.
//
//	R8..R10  columns; a missing one repeats the last present
//	SI, R14  first row of the tile; the same, walking along k
//	BX, CX   row stride in bytes, three times that
//	AX, DX   k, and its limit n rounded down to 16
//	DI, R15  output of the tile's first row and column; rows left
//	R13      n
//	Y0..Y11  accumulators, column by column
//	Y12..Y14 inputs of the columns; Y15 weights of one row
//
// When fewer than four rows are left, the last tile starts further up and
// computes some rows a second time, to the same bits.
#define ROW3(LOAD, m, a, b, c) \
	LOAD(m, Y15);               \
	VFMADD231PS Y15, Y12, a;    \
	VFMADD231PS Y15, Y13, b;    \
	VFMADD231PS Y15, Y14, c

#define STEP3(LOAD, off) \
	VMOVUPS off(R8)(AX*4), Y12;              \
	VMOVUPS off(R9)(AX*4), Y13;              \
	VMOVUPS off(R10)(AX*4), Y14;             \
	ROW3(LOAD, (R14), Y0, Y4, Y8);           \
	ROW3(LOAD, (R14)(BX*1), Y1, Y5, Y9);     \
	ROW3(LOAD, (R14)(BX*2), Y2, Y6, Y10);    \
	ROW3(LOAD, (R14)(CX*1), Y3, Y7, Y11)

// POINT sets a column register to the column after from, if there is one.
#define POINT(column, from, to) \
	LEAQ    (from)(AX*1), to;   \
	CMPQ    DX, $column;        \
	CMOVQLE from, to

// TILES runs over all rows; bytes is the size of 16 weights, shift of one.
#define TILES(bytes, shift, LO, HI, LAST) \
	MOVQ    out+0(FP), DI;          \
	MOVQ    w+16(FP), SI;           \
	MOVQ    wStride+24(FP), BX;     \
	SHLQ    $shift, BX;             \
	LEAQ    (BX)(BX*2), CX;         \
	MOVQ    x+32(FP), R8;           \
	MOVQ    xStride+40(FP), AX;     \
	SHLQ    $2, AX;                 \
	MOVQ    cols+56(FP), DX;        \
	POINT(1, R8, R9);               \
	POINT(2, R9, R10);              \
	MOVQ    rows+48(FP), R15;       \
	MOVQ    n+64(FP), R13;          \
	MOVQ    R13, DX;                \
	ANDQ    $~15, DX;               \
tile:                               \
	ZERO4(Y0, Y1, Y2, Y3);          \
	ZERO4(Y4, Y5, Y6, Y7);          \
	ZERO4(Y8, Y9, Y10, Y11);        \
	MOVQ    SI, R14;                \
	XORL    AX, AX;                 \
	CMPQ    AX, DX;                 \
	JGE     half;                   \
loop:                               \
	STEP3(LO, 0);                   \
	STEP3(HI, 32);                  \
	ADDQ    $bytes, R14;            \
	ADDQ    $16, AX;                \
	CMPQ    AX, DX;                 \
	JLT     loop;                   \
half:                               \
	TESTQ   $8, R13;                \
	JEQ     reduce;                 \
	STEP3(LO, 0);                   \
	ADDQ    $(bytes/2), R14;        \
	ADDQ    $8, AX;                 \
reduce:                             \
	REDUCE4(Y0, Y1, Y2, Y3, X0);    \
	REDUCE4(Y4, Y5, Y6, Y7, X4);    \
	REDUCE4(Y8, Y9, Y10, Y11, X8);  \
	CMPQ    AX, R13;                \
	JGE     store;                  \
last:                               \
	LAST(R14, X15);                 \
	VBROADCASTSS (R8)(AX*4), X12;   \
	VBROADCASTSS (R9)(AX*4), X13;   \
	VBROADCASTSS (R10)(AX*4), X14;  \
	VFMADD231PS X15, X12, X0;       \
	VFMADD231PS X15, X13, X4;       \
	VFMADD231PS X15, X14, X8;       \
	ADDQ    $(1<<shift), R14;       \
	INCQ    AX;                     \
	CMPQ    AX, R13;                \
	JLT     last;                   \
store:                              \
	MOVQ    outStride+8(FP), AX;    \
	VMOVUPS X0, (DI);               \
	CMPQ    cols+56(FP), $2;        \
	JLT     next;                   \
	VMOVUPS X4, (DI)(AX*4);         \
	JEQ     next;                   \
	VMOVUPS X8, (DI)(AX*8);         \
next:                               \
	SUBQ    $4, R15;                \
	JLE     done;                   \
	LEAQ    (SI)(BX*4), SI;         \
	ADDQ    $16, DI;                \
	CMPQ    R15, $4;                \
	JGE     tile;                   \
	LEAQ    -4(R15), AX;            \
	LEAQ    (DI)(AX*4), DI;         \
	IMULQ   BX, AX;                 \
	ADDQ    AX, SI;                 \
	MOVQ    $4, R15;                \
	JMP     tile;                   \
done:                               \
	VZEROUPPER;                     \
	RET

// One column, eight rows at a time.
//
//	R8        the column
//	SI        first of the eight rows
//	R14, R12  rows 0 and 4, walking along k
//	BX, CX    row stride in bytes, three times that
//	AX, DX    k, and its limit n rounded down to 16
//	DI, R15   output of the first row; rows left
//	R13       n
//	Y0..Y7    accumulators
//	Y12, Y15  inputs, weights
#define ROW1(LOAD, m, a) \
	LOAD(m, Y15);            \
	VFMADD231PS Y15, Y12, a

#define ROWS8(LOAD, off) \
	VMOVUPS off(R8)(AX*4), Y12;    \
	ROW1(LOAD, (R14), Y0);         \
	ROW1(LOAD, (R14)(BX*1), Y1);   \
	ROW1(LOAD, (R14)(BX*2), Y2);   \
	ROW1(LOAD, (R14)(CX*1), Y3);   \
	ROW1(LOAD, (R12), Y4);         \
	ROW1(LOAD, (R12)(BX*1), Y5);   \
	ROW1(LOAD, (R12)(BX*2), Y6);   \
	ROW1(LOAD, (R12)(CX*1), Y7)

#define COLUMN8(bytes, shift, LO, HI, LAST) \
	MOVQ    out+0(FP), DI;          \
	MOVQ    w+8(FP), SI;            \
	MOVQ    x+16(FP), R8;           \
	MOVQ    rows+24(FP), R15;       \
	MOVQ    n+32(FP), R13;          \
	MOVQ    R13, BX;                \
	SHLQ    $shift, BX;             \
	LEAQ    (BX)(BX*2), CX;         \
	MOVQ    R13, DX;                \
	ANDQ    $~15, DX;               \
tile:                               \
	ZERO4(Y0, Y1, Y2, Y3);          \
	ZERO4(Y4, Y5, Y6, Y7);          \
	MOVQ    SI, R14;                \
	LEAQ    (SI)(BX*4), R12;        \
	XORL    AX, AX;                 \
	CMPQ    AX, DX;                 \
	JGE     half;                   \
loop:                               \
	ROWS8(LO, 0);                   \
	ROWS8(HI, 32);                  \
	ADDQ    $bytes, R14;            \
	ADDQ    $bytes, R12;            \
	ADDQ    $16, AX;                \
	CMPQ    AX, DX;                 \
	JLT     loop;                   \
half:                               \
	TESTQ   $8, R13;                \
	JEQ     reduce;                 \
	ROWS8(LO, 0);                   \
	ADDQ    $(bytes/2), R14;        \
	ADDQ    $(bytes/2), R12;        \
	ADDQ    $8, AX;                 \
reduce:                             \
	REDUCE4(Y0, Y1, Y2, Y3, X0);    \
	REDUCE4(Y4, Y5, Y6, Y7, X4);    \
	CMPQ    AX, R13;                \
	JGE     store;                  \
last:                               \
	VBROADCASTSS (R8)(AX*4), X12;   \
	LAST(R14, X15);                 \
	VFMADD231PS X15, X12, X0;       \
	LAST(R12, X15);                 \
	VFMADD231PS X15, X12, X4;       \
	ADDQ    $(1<<shift), R14;       \
	ADDQ    $(1<<shift), R12;       \
	INCQ    AX;                     \
	CMPQ    AX, R13;                \
	JLT     last;                   \
store:                              \
	VMOVUPS X0, (DI);               \
	VMOVUPS X4, 16(DI);             \
	SUBQ    $8, R15;                \
	JLE     done;                   \
	LEAQ    (SI)(BX*8), SI;         \
	ADDQ    $32, DI;                \
	CMPQ    R15, $8;                \
	JGE     tile;                   \
	LEAQ    -8(R15), AX;            \
	LEAQ    (DI)(AX*4), DI;         \
	IMULQ   BX, AX;                 \
	ADDQ    AX, SI;                 \
	MOVQ    $8, R15;                \
	JMP     tile;                   \
done:                               \
	VZEROUPPER;                     \
	RET

// func tile3BF16AVX2(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile3BF16AVX2(SB), NOSPLIT, $0-72
	TILES(32, 1, BF16LO, BF16HI, BF16LAST)

// func tile3F16AVX2(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile3F16AVX2(SB), NOSPLIT, $0-72
	TILES(32, 1, F16LO, F16HI, F16LAST)

// func tile3F32AVX2(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile3F32AVX2(SB), NOSPLIT, $0-72
	TILES(64, 2, F32LO, F32HI, F32LAST)

// func column8BF16AVX2(out *float32, w unsafe.Pointer, x *float32, rows, n int)
TEXT ·column8BF16AVX2(SB), NOSPLIT, $0-40
	COLUMN8(32, 1, BF16LO, BF16HI, BF16LAST)

// func column8F16AVX2(out *float32, w unsafe.Pointer, x *float32, rows, n int)
TEXT ·column8F16AVX2(SB), NOSPLIT, $0-40
	COLUMN8(32, 1, F16LO, F16HI, F16LAST)

// func column8F32AVX2(out *float32, w unsafe.Pointer, x *float32, rows, n int)
TEXT ·column8F32AVX2(SB), NOSPLIT, $0-40
	COLUMN8(64, 2, F32LO, F32HI, F32LAST)
