#include "textflag.h"

// Widening of 8-bit numbers with a scale. All expect n > 0, a multiple of 16
// (AVX-512) or 8 (AVX2).
//
//	SI, DI  source, destination
//	CX      elements left

// func i8ToF32AVX512(dst *float32, src *int8, scale float32, n int)
TEXT ·i8ToF32AVX512(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	VBROADCASTSS scale+16(FP), Z1
	MOVQ         n+24(FP), CX

loop:
	VPMOVSXBD (SI), Z0
	VCVTDQ2PS Z0, Z0
	VMULPS    Z1, Z0, Z0
	VMOVUPS   Z0, (DI)
	ADDQ      $16, SI
	ADDQ      $64, DI
	SUBQ      $16, CX
	JGT       loop
	VZEROUPPER
	RET

// E4M3 widens the bytes in words of Y0 to floats 2^8 times too small, through
// half precision: there the numbers that are subnormal cost no more than others.
// Y2 masks the sign of a byte, Y3 the rest of it. All ones where a byte is NaN
// leave the largest exponent and a fraction. Clobbers Y6 and Y7.
#define E4M3TOF16 \
	VPAND    Y2, Y0, Y6;  \
	VPSLLW   $8, Y6, Y6;  \
	VPAND    Y3, Y0, Y0;  \
	VPCMPEQW Y3, Y0, Y7;  \
	VPSRLW   $1, Y7, Y7;  \
	VPSLLW   $7, Y0, Y0;  \
	VPOR     Y7, Y0, Y0;  \
	VPOR     Y6, Y0, Y0

#define E4M3MASKS \
	VPCMPEQW Y2, Y2, Y2;  \
	VPSRLW   $9, Y2, Y3;  \
	VPSRLW   $15, Y2, Y2; \
	VPSLLW   $7, Y2, Y2

// func e4m3ToF32AVX512(dst *float32, src *uint8, scale float32, n int)
//
// Z4 is 2^8.
TEXT ·e4m3ToF32AVX512(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	VBROADCASTSS scale+16(FP), Z1
	MOVQ         n+24(FP), CX
	E4M3MASKS
	MOVL         $0x43800000, AX
	VPBROADCASTD AX, Z4

loop:
	VPMOVZXBW (SI), Y0
	E4M3TOF16
	VCVTPH2PS Y0, Z0
	VMULPS    Z4, Z0, Z0
	VMULPS    Z1, Z0, Z0
	VMOVUPS   Z0, (DI)
	ADDQ      $16, SI
	ADDQ      $64, DI
	SUBQ      $16, CX
	JGT       loop
	VZEROUPPER
	RET

// func i8ToF32AVX2(dst *float32, src *int8, scale float32, n int)
TEXT ·i8ToF32AVX2(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	VBROADCASTSS scale+16(FP), Y1
	MOVQ         n+24(FP), CX

loop:
	VPMOVSXBD (SI), Y0
	VCVTDQ2PS Y0, Y0
	VMULPS    Y1, Y0, Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $8, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JGT       loop
	VZEROUPPER
	RET

// func e4m3ToF32AVX2(dst *float32, src *uint8, scale float32, n int)
//
// Y4 is 2^8. Half of the words of a vector are in use.
TEXT ·e4m3ToF32AVX2(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	VBROADCASTSS scale+16(FP), Y1
	MOVQ         n+24(FP), CX
	E4M3MASKS
	MOVL         $0x43800000, AX
	VMOVD        AX, X4
	VPBROADCASTD X4, Y4

loop:
	VPMOVZXBW (SI), X0
	E4M3TOF16
	VCVTPH2PS X0, Y0
	VMULPS    Y4, Y0, Y0
	VMULPS    Y1, Y0, Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $8, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JGT       loop
	VZEROUPPER
	RET
