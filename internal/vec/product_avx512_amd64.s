#include "textflag.h"

// Products of stored rows with float32 columns, AVX-512 (F, BW, VL).
//
// Every output owns one 16-lane accumulator, whatever the shape of its tile:
// k runs in steps of 32, lanes k..k+15 and then k+16..k+31. The last n%32
// elements go through the same two additions under masks, which also keep the
// loads inside the slices. REDUCE4 then adds the lanes of four accumulators in
// one fixed tree. So the bits of an output depend on its row and column alone.

// Weights of 32 elements at m, widened in the order of k: LO the first 16, HI
// the last 16. Masks K2, K3 and K4 select the tail's first 16, last 16 and all.
//
// bf16 is the upper half of a float32.
#define BF16LO(m, z) VPMOVZXWD m, z; VPSLLD $16, z, z
#define BF16HI(m, z) VPMOVZXWD 32 m, z; VPSLLD $16, z, z
#define BF16TLO(m, z) VPMOVZXWD.Z m, K2, z; VPSLLD $16, z, z
#define BF16THI(m, z) VPMOVZXWD.Z 32 m, K3, z; VPSLLD $16, z, z

// With VBMI one permutation puts each element above two zero bytes, which the
// mask K1 leaves out. Z30 and Z31 hold its indices.
#define VBMILO(m, z) VPERMB.Z m, Z30, K1, z
#define VBMIHI(m, z) VPERMB.Z m, Z31, K1, z
#define VBMITLO(m, z) VMOVDQU16.Z m, K4, Z29; VPERMB.Z Z29, Z30, K1, z
#define VBMITHI(m, z) VMOVDQU16.Z m, K4, Z29; VPERMB.Z Z29, Z31, K1, z

#define F16LO(m, z) VCVTPH2PS m, z
#define F16HI(m, z) VCVTPH2PS 32 m, z
#define F16TLO(m, z) VMOVDQU16.Z m, K2, Y29; VCVTPH2PS Y29, z
#define F16THI(m, z) VMOVDQU16.Z 32 m, K3, Y29; VCVTPH2PS Y29, z

#define F32LO(m, z) VMOVUPS m, z
#define F32HI(m, z) VMOVUPS 64 m, z
#define F32TLO(m, z) VMOVUPS.Z m, K2, z
#define F32THI(m, z) VMOVUPS.Z 64 m, K3, z

// Bytes 4i+2 and 4i+3 of the result take bytes 2i and 2i+1 of the source.
DATA widen<>+0(SB)/8, $0x0302000001000000
DATA widen<>+8(SB)/8, $0x0706000005040000
DATA widen<>+16(SB)/8, $0x0b0a000009080000
DATA widen<>+24(SB)/8, $0x0f0e00000d0c0000
DATA widen<>+32(SB)/8, $0x1312000011100000
DATA widen<>+40(SB)/8, $0x1716000015140000
DATA widen<>+48(SB)/8, $0x1b1a000019180000
DATA widen<>+56(SB)/8, $0x1f1e00001d1c0000
GLOBL widen<>(SB), RODATA|NOPTR, $64

// VBMITABLE sets K1, Z30 and, 32 bytes further on, Z31. Clobbers AX.
#define VBMITABLE \
	MOVQ         $0xcccccccccccccccc, AX; \
	KMOVQ        AX, K1;                  \
	VMOVDQU64    widen<>(SB), Z30;        \
	MOVL         $0x20202020, AX;         \
	VPBROADCASTD AX, Z31;                 \
	VPORD        Z30, Z31, Z31

// MASKS sets K2, K3 and K4 for n elements past a multiple of 32. Clobbers AX, CX.
#define MASKS(n) \
	MOVQ  n, CX;       \
	ANDQ  $31, CX;     \
	MOVQ  $1, AX;      \
	SHLQ  CX, AX;      \
	DECQ  AX;          \
	KMOVD AX, K4;      \
	KMOVD AX, K2;      \
	SHRQ  $16, AX;     \
	KMOVD AX, K3

// REDUCE4 leaves the four sums of a, b, c, d in X24. Clobbers Z24 to Z27.
#define REDUCE4(a, b, c, d) \
	VUNPCKLPS     b, a, Z24;         \
	VUNPCKHPS     b, a, Z25;         \
	VUNPCKLPS     d, c, Z26;         \
	VUNPCKHPS     d, c, Z27;         \
	VADDPS        Z25, Z24, Z24;     \
	VADDPS        Z27, Z26, Z26;     \
	VUNPCKLPD     Z26, Z24, Z25;     \
	VUNPCKHPD     Z26, Z24, Z27;     \
	VADDPS        Z27, Z25, Z24;     \
	VEXTRACTF64X4 $1, Z24, Y25;      \
	VADDPS        Y25, Y24, Y24;     \
	VEXTRACTF32X4 $1, Y24, X25;      \
	VADDPS        X25, X24, X24

#define ZERO4(a, b, c, d) \
	VPXORD a, a, a; \
	VPXORD b, b, b; \
	VPXORD c, c, c; \
	VPXORD d, d, d

// Tiles of 4 rows by 6 or 3 columns.
//
//	R8..R13  columns; a missing one repeats the last present
//	SI, R14  first row of the tile; the same, walking along k
//	BX, CX   row stride in bytes, three times that
//	AX, DX   k, and its limit n rounded down to 32
//	DI, R15  output of the tile's first row and column; rows left
//	Z0..Z23  accumulators, column by column
//	Z24..Z27 weights of the four rows; Z28 inputs; Z29 scratch
//
// When fewer than four rows are left, the last tile starts further up and
// computes some rows a second time, to the same bits.
#define ROWS4(LOAD) \
	LOAD((R14), Z24);         \
	LOAD((R14)(BX*1), Z25);   \
	LOAD((R14)(BX*2), Z26);   \
	LOAD((R14)(CX*1), Z27)

#define FMA4(a, b, c, d) \
	VFMADD231PS Z24, Z28, a; \
	VFMADD231PS Z25, Z28, b; \
	VFMADD231PS Z26, Z28, c; \
	VFMADD231PS Z27, Z28, d

#define COLUMN(off, x, a, b, c, d) \
	VMOVUPS off(x)(AX*4), Z28; \
	FMA4(a, b, c, d)

#define COLUMNTAIL(off, x, k, a, b, c, d) \
	VMOVUPS.Z off(x)(AX*4), k, Z28; \
	FMA4(a, b, c, d)

#define COLUMNS3(off) \
	COLUMN(off, R8, Z0, Z1, Z2, Z3);    \
	COLUMN(off, R9, Z4, Z5, Z6, Z7);    \
	COLUMN(off, R10, Z8, Z9, Z10, Z11)

#define COLUMNS6(off) \
	COLUMNS3(off);                          \
	COLUMN(off, R11, Z12, Z13, Z14, Z15);   \
	COLUMN(off, R12, Z16, Z17, Z18, Z19);   \
	COLUMN(off, R13, Z20, Z21, Z22, Z23)

#define TAIL3(off, k) \
	COLUMNTAIL(off, R8, k, Z0, Z1, Z2, Z3);    \
	COLUMNTAIL(off, R9, k, Z4, Z5, Z6, Z7);    \
	COLUMNTAIL(off, R10, k, Z8, Z9, Z10, Z11)

#define TAIL6(off, k) \
	TAIL3(off, k);                                 \
	COLUMNTAIL(off, R11, k, Z12, Z13, Z14, Z15);   \
	COLUMNTAIL(off, R12, k, Z16, Z17, Z18, Z19);   \
	COLUMNTAIL(off, R13, k, Z20, Z21, Z22, Z23)

#define ZERO3 \
	ZERO4(Z0, Z1, Z2, Z3);     \
	ZERO4(Z4, Z5, Z6, Z7);     \
	ZERO4(Z8, Z9, Z10, Z11)

#define ZERO6 \
	ZERO3;                       \
	ZERO4(Z12, Z13, Z14, Z15);   \
	ZERO4(Z16, Z17, Z18, Z19);   \
	ZERO4(Z20, Z21, Z22, Z23)

// STORE writes four rows of one column and leaves unless there is another.
#define STORE(column, a, b, c, d) \
	REDUCE4(a, b, c, d);                \
	VMOVUPS X24, (R14);                 \
	CMPQ    cols+56(FP), $(column+1);   \
	JLE     next;                       \
	ADDQ    AX, R14

#define STORE3 \
	STORE(0, Z0, Z1, Z2, Z3);     \
	STORE(1, Z4, Z5, Z6, Z7);     \
	STORE(2, Z8, Z9, Z10, Z11)

#define STORE6 \
	STORE3;                         \
	STORE(3, Z12, Z13, Z14, Z15);   \
	STORE(4, Z16, Z17, Z18, Z19);   \
	STORE(5, Z20, Z21, Z22, Z23)

// POINT sets a column register to the column after from, if there is one.
#define POINT(column, from, to)     \
	LEAQ    (from)(AX*1), to;     \
	CMPQ    DX, $column;          \
	CMOVQLE from, to

// TILES runs over all rows; bytes is the size of 32 weights, shift of one.
#define TILES(bytes, shift, LO, HI, TLO, THI, ZERO, COLUMNS, TAIL, STORES) \
	MASKS(n+64(FP));                \
	MOVQ   out+0(FP), DI;           \
	MOVQ   w+16(FP), SI;            \
	MOVQ   wStride+24(FP), BX;      \
	SHLQ   $shift, BX;              \
	LEAQ   (BX)(BX*2), CX;          \
	MOVQ   x+32(FP), R8;            \
	MOVQ   xStride+40(FP), AX;      \
	SHLQ   $2, AX;                  \
	MOVQ   cols+56(FP), DX;         \
	POINT(1, R8, R9);               \
	POINT(2, R9, R10);              \
	POINT(3, R10, R11);             \
	POINT(4, R11, R12);             \
	POINT(5, R12, R13);             \
	MOVQ   rows+48(FP), R15;        \
	MOVQ   n+64(FP), DX;            \
	ANDQ   $~31, DX;                \
tile:                               \
	ZERO;                           \
	MOVQ   SI, R14;                 \
	XORL   AX, AX;                  \
	CMPQ   AX, DX;                  \
	JGE    tail;                    \
loop:                               \
	ROWS4(LO);                      \
	COLUMNS(0);                     \
	ROWS4(HI);                      \
	COLUMNS(64);                    \
	ADDQ   $bytes, R14;             \
	ADDQ   $32, AX;                 \
	CMPQ   AX, DX;                  \
	JLT    loop;                    \
tail:                               \
	CMPQ   AX, n+64(FP);            \
	JGE    store;                   \
	ROWS4(TLO);                     \
	TAIL(0, K2);                    \
	ROWS4(THI);                     \
	TAIL(64, K3);                   \
store:                              \
	MOVQ   DI, R14;                 \
	MOVQ   outStride+8(FP), AX;     \
	SHLQ   $2, AX;                  \
	STORES;                         \
next:                               \
	SUBQ   $4, R15;                 \
	JLE    done;                    \
	LEAQ   (SI)(BX*4), SI;          \
	ADDQ   $16, DI;                 \
	CMPQ   R15, $4;                 \
	JGE    tile;                    \
	LEAQ   -4(R15), AX;             \
	LEAQ   (DI)(AX*4), DI;          \
	IMULQ  BX, AX;                  \
	ADDQ   AX, SI;                  \
	MOVQ   $4, R15;                 \
	JMP    tile;                    \
done:                               \
	VZEROUPPER;                     \
	RET

// One column, eight rows at a time.
//
//	R8        the column
//	SI        first of the eight rows
//	R14, R13  rows 0 and 4, walking along k; R9, R10 the same, eight rows on
//	BX, CX    row stride in bytes, three times that
//	AX, DX    k, and its limit n rounded down to 32
//	DI, R15   output of the first row; rows left
//	Z0..Z7    accumulators
//	Z24       weights; Z28 inputs; Z29..Z31 and K1 for VBMI
#define ROW(LOAD, m, a) \
	LOAD(m, Z24);             \
	VFMADD231PS Z24, Z28, a

#define ROWS8(LOAD) \
	ROW(LOAD, (R14), Z0);         \
	ROW(LOAD, (R14)(BX*1), Z1);   \
	ROW(LOAD, (R14)(BX*2), Z2);   \
	ROW(LOAD, (R14)(CX*1), Z3);   \
	ROW(LOAD, (R13), Z4);         \
	ROW(LOAD, (R13)(BX*1), Z5);   \
	ROW(LOAD, (R13)(BX*2), Z6);   \
	ROW(LOAD, (R13)(CX*1), Z7)

// PREFETCH8 asks for the same place of the next eight rows, which the hardware
// does not foresee. Past the last row it does nothing.
#define PREFETCH8 \
	LEAQ       (R14)(BX*8), R9;   \
	LEAQ       (R13)(BX*8), R10;  \
	PREFETCHT1 (R9);              \
	PREFETCHT1 (R9)(BX*1);        \
	PREFETCHT1 (R9)(BX*2);        \
	PREFETCHT1 (R9)(CX*1);        \
	PREFETCHT1 (R10);             \
	PREFETCHT1 (R10)(BX*1);       \
	PREFETCHT1 (R10)(BX*2);       \
	PREFETCHT1 (R10)(CX*1)

#define COLUMN8(bytes, shift, LO, HI, TLO, THI) \
	MASKS(n+32(FP));                \
	MOVQ    out+0(FP), DI;          \
	MOVQ    w+8(FP), SI;            \
	MOVQ    x+16(FP), R8;           \
	MOVQ    rows+24(FP), R15;       \
	MOVQ    n+32(FP), DX;           \
	MOVQ    DX, BX;                 \
	SHLQ    $shift, BX;             \
	LEAQ    (BX)(BX*2), CX;         \
	ANDQ    $~31, DX;               \
tile:                               \
	ZERO4(Z0, Z1, Z2, Z3);          \
	ZERO4(Z4, Z5, Z6, Z7);          \
	MOVQ    SI, R14;                \
	LEAQ    (SI)(BX*4), R13;        \
	XORL    AX, AX;                 \
	CMPQ    AX, DX;                 \
	JGE     tail;                   \
loop:                               \
	PREFETCH8;                      \
	VMOVUPS (R8)(AX*4), Z28;        \
	ROWS8(LO);                      \
	VMOVUPS 64(R8)(AX*4), Z28;      \
	ROWS8(HI);                      \
	ADDQ    $bytes, R14;            \
	ADDQ    $bytes, R13;            \
	ADDQ    $32, AX;                \
	CMPQ    AX, DX;                 \
	JLT     loop;                   \
tail:                               \
	CMPQ    AX, n+32(FP);           \
	JGE     store;                  \
	VMOVUPS.Z (R8)(AX*4), K2, Z28;  \
	ROWS8(TLO);                     \
	VMOVUPS.Z 64(R8)(AX*4), K3, Z28; \
	ROWS8(THI);                     \
store:                              \
	REDUCE4(Z0, Z1, Z2, Z3);        \
	VMOVUPS X24, (DI);              \
	REDUCE4(Z4, Z5, Z6, Z7);        \
	VMOVUPS X24, 16(DI);            \
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

// func tile6BF16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile6BF16AVX512(SB), NOSPLIT, $0-72
	TILES(64, 1, BF16LO, BF16HI, BF16TLO, BF16THI, ZERO6, COLUMNS6, TAIL6, STORE6)

// func tile3BF16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile3BF16AVX512(SB), NOSPLIT, $0-72
	TILES(64, 1, BF16LO, BF16HI, BF16TLO, BF16THI, ZERO3, COLUMNS3, TAIL3, STORE3)

// func tile6F16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile6F16AVX512(SB), NOSPLIT, $0-72
	TILES(64, 1, F16LO, F16HI, F16TLO, F16THI, ZERO6, COLUMNS6, TAIL6, STORE6)

// func tile3F16AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile3F16AVX512(SB), NOSPLIT, $0-72
	TILES(64, 1, F16LO, F16HI, F16TLO, F16THI, ZERO3, COLUMNS3, TAIL3, STORE3)

// func tile6F32AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile6F32AVX512(SB), NOSPLIT, $0-72
	TILES(128, 2, F32LO, F32HI, F32TLO, F32THI, ZERO6, COLUMNS6, TAIL6, STORE6)

// func tile3F32AVX512(out *float32, outStride int, w unsafe.Pointer, wStride int, x *float32, xStride, rows, cols, n int)
TEXT ·tile3F32AVX512(SB), NOSPLIT, $0-72
	TILES(128, 2, F32LO, F32HI, F32TLO, F32THI, ZERO3, COLUMNS3, TAIL3, STORE3)

// func column8BF16AVX512(out *float32, w unsafe.Pointer, x *float32, rows, n int)
TEXT ·column8BF16AVX512(SB), NOSPLIT, $0-40
	COLUMN8(64, 1, BF16LO, BF16HI, BF16TLO, BF16THI)

// func column8BF16VBMI(out *float32, w unsafe.Pointer, x *float32, rows, n int)
TEXT ·column8BF16VBMI(SB), NOSPLIT, $0-40
	VBMITABLE
	COLUMN8(64, 1, VBMILO, VBMIHI, VBMITLO, VBMITHI)

// func column8F16AVX512(out *float32, w unsafe.Pointer, x *float32, rows, n int)
TEXT ·column8F16AVX512(SB), NOSPLIT, $0-40
	COLUMN8(64, 1, F16LO, F16HI, F16TLO, F16THI)

// func column8F32AVX512(out *float32, w unsafe.Pointer, x *float32, rows, n int)
TEXT ·column8F32AVX512(SB), NOSPLIT, $0-40
	COLUMN8(128, 2, F32LO, F32HI, F32TLO, F32THI)
