#include "textflag.h"

// Elementwise functions and sums, AVX-512 (F, BW, VL). All expect n > 0. They
// run in steps of 16 lanes; the last n%16 go through the same instructions
// under the mask K1, so no element depends on its place, and no load leaves
// the slice.
//
//	SI, DI  source, destination
//	CX      elements left; AX scratch

// TAILMASK sets K1 for the CX < 16 elements left. Clobbers AX and CX.
#define TAILMASK \
	MOVL  $1, AX;  \
	SHLL  CX, AX;  \
	DECL  AX;      \
	KMOVW AX, K1

// REDUCE adds the lanes of Z0 into X0. Clobbers Z1.
#define REDUCE \
	VEXTRACTF64X4 $1, Z0, Y1;   \
	VADDPS        Y1, Y0, Y0;   \
	VEXTRACTF128  $1, Y0, X1;   \
	VADDPS        X1, X0, X0;   \
	VMOVHLPS      X0, X0, X1;   \
	VADDPS        X1, X0, X0;   \
	VMOVSHDUP     X0, X1;       \
	VADDSS        X1, X0, X0

#define ZERO4 \
	VPXORD Z0, Z0, Z0; \
	VPXORD Z1, Z1, Z1; \
	VPXORD Z2, Z2, Z2; \
	VPXORD Z3, Z3, Z3

#define ADD4 \
	VADDPS Z1, Z0, Z0; \
	VADDPS Z3, Z2, Z2; \
	VADDPS Z2, Z0, Z0

// exp(Z0) in Z0 = 2^t · e^r with t = round(x/ln 2), r = x - t·ln 2 and
// e^r = 1 + r + r²·P(r). Clamped inputs make the scaling over- or underflow;
// the order of the clamps' operands lets NaN through. Clobbers Z1 and Z2.
// Z16..Z27 hold expTable.
#define EXP \
	VMINPS       Z0, Z16, Z0;   \
	VMAXPS       Z0, Z17, Z0;   \
	VMULPS       Z18, Z0, Z1;   \
	VRNDSCALEPS  $8, Z1, Z1;    \
	VFNMADD231PS Z19, Z1, Z0;   \
	VFNMADD231PS Z20, Z1, Z0;   \
	VMOVAPS      Z21, Z2;       \
	VFMADD213PS  Z22, Z0, Z2;   \
	VFMADD213PS  Z23, Z0, Z2;   \
	VFMADD213PS  Z24, Z0, Z2;   \
	VFMADD213PS  Z25, Z0, Z2;   \
	VFMADD213PS  Z26, Z0, Z2;   \
	VMULPS       Z0, Z2, Z2;    \
	VFMADD213PS  Z0, Z0, Z2;    \
	VADDPS       Z27, Z2, Z2;   \
	VSCALEFPS    Z1, Z2, Z0

#define EXPTABLE \
	VBROADCASTSS ·expTable+0(SB), Z16;    \
	VBROADCASTSS ·expTable+4(SB), Z17;    \
	VBROADCASTSS ·expTable+8(SB), Z18;    \
	VBROADCASTSS ·expTable+12(SB), Z19;   \
	VBROADCASTSS ·expTable+16(SB), Z20;   \
	VBROADCASTSS ·expTable+20(SB), Z21;   \
	VBROADCASTSS ·expTable+24(SB), Z22;   \
	VBROADCASTSS ·expTable+28(SB), Z23;   \
	VBROADCASTSS ·expTable+32(SB), Z24;   \
	VBROADCASTSS ·expTable+36(SB), Z25;   \
	VBROADCASTSS ·expTable+40(SB), Z26;   \
	VBROADCASTSS ·expTable+44(SB), Z27

// Z0 / (1 + exp(-Z0)). Clobbers Z1 to Z3.
#define SILU \
	VMOVAPS Z0, Z3;           \
	VPXORD  Z28, Z0, Z0;      \
	EXP;                      \
	VADDPS  Z27, Z0, Z0;      \
	VDIVPS  Z0, Z3, Z0

// EACH applies BODY to Z0, from float32 to float32.
#define EACH(BODY) \
	MOVQ      dst+0(FP), DI;     \
	MOVQ      src+8(FP), SI;     \
	MOVQ      n+16(FP), CX;      \
	SUBQ      $16, CX;           \
	JLT       tail;              \
loop:                            \
	VMOVUPS   (SI), Z0;          \
	BODY;                        \
	VMOVUPS   Z0, (DI);          \
	ADDQ      $64, SI;           \
	ADDQ      $64, DI;           \
	SUBQ      $16, CX;           \
	JGE       loop;              \
tail:                            \
	ADDQ      $16, CX;           \
	JEQ       done;              \
	TAILMASK;                    \
	VMOVUPS.Z (SI), K1, Z0;      \
	BODY;                        \
	VMOVUPS   Z0, K1, (DI);      \
done:                            \
	VZEROUPPER;                  \
	RET

// WIDEN converts 16-bit to float32 by BODY, from Y0 to Z0.
#define WIDEN(BODY) \
	MOVQ        dst+0(FP), DI;   \
	MOVQ        src+8(FP), SI;   \
	MOVQ        n+16(FP), CX;    \
	SUBQ        $16, CX;         \
	JLT         tail;            \
loop:                            \
	VMOVDQU     (SI), Y0;        \
	BODY;                        \
	VMOVUPS     Z0, (DI);        \
	ADDQ        $32, SI;         \
	ADDQ        $64, DI;         \
	SUBQ        $16, CX;         \
	JGE         loop;            \
tail:                            \
	ADDQ        $16, CX;         \
	JEQ         done;            \
	TAILMASK;                    \
	VMOVDQU16.Z (SI), K1, Y0;    \
	BODY;                        \
	VMOVUPS     Z0, K1, (DI);    \
done:                            \
	VZEROUPPER;                  \
	RET

// NARROW converts float32 to 16-bit by BODY, from Z0 to Y0.
#define NARROW(BODY) \
	MOVQ      dst+0(FP), DI;     \
	MOVQ      src+8(FP), SI;     \
	MOVQ      n+16(FP), CX;      \
	SUBQ      $16, CX;           \
	JLT       tail;              \
loop:                            \
	VMOVUPS   (SI), Z0;          \
	BODY;                        \
	VMOVDQU   Y0, (DI);          \
	ADDQ      $64, SI;           \
	ADDQ      $32, DI;           \
	SUBQ      $16, CX;           \
	JGE       loop;              \
tail:                            \
	ADDQ      $16, CX;           \
	JEQ       done;              \
	TAILMASK;                    \
	VMOVUPS.Z (SI), K1, Z0;      \
	BODY;                        \
	VMOVDQU16 Y0, K1, (DI);      \
done:                            \
	VZEROUPPER;                  \
	RET

#define FROMBF16 VPMOVZXWD Y0, Z0; VPSLLD $16, Z0, Z0
#define FROMF16 VCVTPH2PS Y0, Z0
#define TOF16 VCVTPS2PH $0, Z0, Y0

// Adds 0x7fff and the lowest bit kept, then drops the lower half; where Z0 is
// NaN, sets the quiet bit instead. Z28 = 1, Z29 = 0x7fff, Z30 = 0x40.
#define TOBF16 \
	VPSRLD   $16, Z0, Z1;         \
	VPANDD   Z28, Z1, Z2;         \
	VPADDD   Z29, Z2, Z2;         \
	VPADDD   Z0, Z2, Z2;          \
	VPSRLD   $16, Z2, Z2;         \
	VCMPPS   $3, Z0, Z0, K2;      \
	VPORD    Z30, Z1, K2, Z2;     \
	VPMOVDW  Z2, Y0

// func expAVX512(dst, src *float32, n int)
TEXT ·expAVX512(SB), NOSPLIT, $0-24
	EXPTABLE
	EACH(EXP)

// func siluAVX512(dst, src *float32, n int)
TEXT ·siluAVX512(SB), NOSPLIT, $0-24
	EXPTABLE
	MOVL         $0x80000000, AX
	VPBROADCASTD AX, Z28
	EACH(SILU)

// func bf16ToF32AVX512(dst *float32, src *uint16, n int)
TEXT ·bf16ToF32AVX512(SB), NOSPLIT, $0-24
	WIDEN(FROMBF16)

// func f16ToF32AVX512(dst *float32, src *uint16, n int)
TEXT ·f16ToF32AVX512(SB), NOSPLIT, $0-24
	WIDEN(FROMF16)

// func f32ToBF16AVX512(dst *uint16, src *float32, n int)
TEXT ·f32ToBF16AVX512(SB), NOSPLIT, $0-24
	MOVL         $1, AX
	VPBROADCASTD AX, Z28
	MOVL         $0x7fff, AX
	VPBROADCASTD AX, Z29
	MOVL         $0x40, AX
	VPBROADCASTD AX, Z30
	NARROW(TOBF16)

// func f32ToF16AVX512(dst *uint16, src *float32, n int)
TEXT ·f32ToF16AVX512(SB), NOSPLIT, $0-24
	NARROW(TOF16)

// func expSumAVX512(x *float32, max float32, n int) float32
//
// Z3 sums; Z28 is max.
TEXT ·expSumAVX512(SB), NOSPLIT, $0-28
	EXPTABLE
	MOVQ         x+0(FP), SI
	VBROADCASTSS max+8(FP), Z28
	MOVQ         n+16(FP), CX
	VPXORD       Z3, Z3, Z3
	SUBQ         $16, CX
	JLT          tail

loop:
	VMOVUPS (SI), Z0
	VSUBPS  Z28, Z0, Z0
	EXP
	VMOVUPS Z0, (SI)
	VADDPS  Z0, Z3, Z3
	ADDQ    $64, SI
	SUBQ    $16, CX
	JGE     loop

tail:
	ADDQ      $16, CX
	JEQ       done
	TAILMASK
	VMOVUPS.Z (SI), K1, Z0
	VSUBPS    Z28, Z0, Z0
	EXP
	VMOVUPS   Z0, K1, (SI)
	VADDPS    Z0, Z3, K1, Z3

done:
	VMOVAPS Z3, Z0
	REDUCE
	VMOVSS  X0, ret+24(FP)
	VZEROUPPER
	RET

// func dotAVX512(a, b *float32, n int) float32
//
// Z0..Z3 sum, 64 elements a step, then 16 at a time into Z0.
TEXT ·dotAVX512(SB), NOSPLIT, $0-28
	MOVQ a+0(FP), SI
	MOVQ b+8(FP), DI
	MOVQ n+16(FP), CX
	ZERO4
	SUBQ $64, CX
	JLT  rest

loop:
	VMOVUPS     (SI), Z4
	VMOVUPS     64(SI), Z5
	VMOVUPS     128(SI), Z6
	VMOVUPS     192(SI), Z7
	VFMADD231PS (DI), Z4, Z0
	VFMADD231PS 64(DI), Z5, Z1
	VFMADD231PS 128(DI), Z6, Z2
	VFMADD231PS 192(DI), Z7, Z3
	ADDQ        $256, SI
	ADDQ        $256, DI
	SUBQ        $64, CX
	JGE         loop

rest:
	ADDQ $64, CX
	ADD4

more:
	CMPQ        CX, $16
	JLT         tail
	VMOVUPS     (SI), Z4
	VFMADD231PS (DI), Z4, Z0
	ADDQ        $64, SI
	ADDQ        $64, DI
	SUBQ        $16, CX
	JMP         more

tail:
	TESTQ       CX, CX
	JEQ         done
	TAILMASK
	VMOVUPS.Z   (SI), K1, Z4
	VMOVUPS.Z   (DI), K1, Z5
	VFMADD231PS Z5, Z4, Z0

done:
	REDUCE
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func axpyAVX512(y *float32, a float32, x *float32, n int)
TEXT ·axpyAVX512(SB), NOSPLIT, $0-32
	MOVQ         y+0(FP), DI
	VBROADCASTSS a+8(FP), Z0
	MOVQ         x+16(FP), SI
	MOVQ         n+24(FP), CX
	SUBQ         $16, CX
	JLT          tail

loop:
	VMOVUPS     (DI), Z1
	VFMADD231PS (SI), Z0, Z1
	VMOVUPS     Z1, (DI)
	ADDQ        $64, SI
	ADDQ        $64, DI
	SUBQ        $16, CX
	JGE         loop

tail:
	ADDQ        $16, CX
	JEQ         done
	TAILMASK
	VMOVUPS.Z   (DI), K1, Z1
	VMOVUPS.Z   (SI), K1, Z2
	VFMADD231PS Z2, Z0, Z1
	VMOVUPS     Z1, K1, (DI)

done:
	VZEROUPPER
	RET

// func sumAVX512(x *float32, n int) float32
//
// Z0..Z3 sum, 64 elements a step, then 16 at a time into Z0.
TEXT ·sumAVX512(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	ZERO4
	SUBQ $64, CX
	JLT  rest

loop:
	VADDPS (SI), Z0, Z0
	VADDPS 64(SI), Z1, Z1
	VADDPS 128(SI), Z2, Z2
	VADDPS 192(SI), Z3, Z3
	ADDQ   $256, SI
	SUBQ   $64, CX
	JGE    loop

rest:
	ADDQ $64, CX
	ADD4

more:
	CMPQ   CX, $16
	JLT    tail
	VADDPS (SI), Z0, Z0
	ADDQ   $64, SI
	SUBQ   $16, CX
	JMP    more

tail:
	TESTQ     CX, CX
	JEQ       done
	TAILMASK
	VMOVUPS.Z (SI), K1, Z4
	VADDPS    Z4, Z0, Z0

done:
	REDUCE
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func centredSquaresAVX512(x *float32, mean float32, n int) float32
//
// Z0..Z3 sum, 64 elements a step, then 16 at a time into Z0. Z8 is the mean.
TEXT ·centredSquaresAVX512(SB), NOSPLIT, $0-28
	MOVQ         x+0(FP), SI
	VBROADCASTSS mean+8(FP), Z8
	MOVQ         n+16(FP), CX
	ZERO4
	SUBQ         $64, CX
	JLT          rest

loop:
	VMOVUPS     (SI), Z4
	VMOVUPS     64(SI), Z5
	VMOVUPS     128(SI), Z6
	VMOVUPS     192(SI), Z7
	VSUBPS      Z8, Z4, Z4
	VSUBPS      Z8, Z5, Z5
	VSUBPS      Z8, Z6, Z6
	VSUBPS      Z8, Z7, Z7
	VFMADD231PS Z4, Z4, Z0
	VFMADD231PS Z5, Z5, Z1
	VFMADD231PS Z6, Z6, Z2
	VFMADD231PS Z7, Z7, Z3
	ADDQ        $256, SI
	SUBQ        $64, CX
	JGE         loop

rest:
	ADDQ $64, CX
	ADD4

more:
	CMPQ        CX, $16
	JLT         tail
	VMOVUPS     (SI), Z4
	VSUBPS      Z8, Z4, Z4
	VFMADD231PS Z4, Z4, Z0
	ADDQ        $64, SI
	SUBQ        $16, CX
	JMP         more

tail:
	TESTQ       CX, CX
	JEQ         done
	TAILMASK
	VMOVUPS.Z   (SI), K1, Z4
	VSUBPS.Z    Z8, Z4, K1, Z4
	VFMADD231PS Z4, Z4, Z0

done:
	REDUCE
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// One step of four rows of the state, p to p+3, or of one.
//
//	SI, R14  the first row; the same, walking along n
//	BX, DX   row in bytes, three rows
//	R8, R9   b, c; AX offset in bytes; R10 its limit, the whole vectors
//	R11, R12 x, y; CX rows left; R13 elements past the whole vectors
//	Z0..Z3   sums; Z4..Z7 dt·x; Z8 b; Z9 c; Z10 decay; Z11..Z14 state; X15 dt
#define UPDATE(m, s, dx, sum) \
	VMULPS      m, Z10, s;      \
	VFMADD231PS Z8, dx, s;      \
	VMOVUPS     s, m;           \
	VFMADD231PS Z9, s, sum

#define UPDATETAIL(m, s, dx, sum) \
	VMULPS.Z    m, Z10, K1, s;  \
	VFMADD231PS Z8, dx, s;      \
	VMOVUPS     s, K1, m;       \
	VFMADD231PS Z9, s, sum

#define DTX(off, dx, z) \
	VMULSS       off(R11), X15, dx;   \
	VBROADCASTSS dx, z

// func scanAVX512(y, state, b, c, x *float32, decay, dt float32, rows, n int)
TEXT ·scanAVX512(SB), NOSPLIT, $0-64
	MOVQ         y+0(FP), R12
	MOVQ         state+8(FP), SI
	MOVQ         b+16(FP), R8
	MOVQ         c+24(FP), R9
	MOVQ         x+32(FP), R11
	VBROADCASTSS decay+40(FP), Z10
	VMOVSS       dt+44(FP), X15
	MOVQ         n+56(FP), R13
	MOVQ         R13, BX
	SHLQ         $2, BX
	LEAQ         (BX)(BX*2), DX
	MOVQ         R13, R10
	ANDQ         $~15, R10
	SHLQ         $2, R10
	ANDQ         $15, R13
	MOVQ         R13, CX
	TAILMASK
	MOVQ         rows+48(FP), CX

four:
	SUBQ $4, CX
	JLT  rest
	ZERO4
	DTX(0, X4, Z4)
	DTX(4, X5, Z5)
	DTX(8, X6, Z6)
	DTX(12, X7, Z7)
	MOVQ SI, R14
	XORL AX, AX
	CMPQ AX, R10
	JGE  tail4

loop4:
	VMOVUPS (R8)(AX*1), Z8
	VMOVUPS (R9)(AX*1), Z9
	UPDATE((R14), Z11, Z4, Z0)
	UPDATE((R14)(BX*1), Z12, Z5, Z1)
	UPDATE((R14)(BX*2), Z13, Z6, Z2)
	UPDATE((R14)(DX*1), Z14, Z7, Z3)
	ADDQ    $64, R14
	ADDQ    $64, AX
	CMPQ    AX, R10
	JLT     loop4

tail4:
	TESTQ     R13, R13
	JEQ       sum4
	VMOVUPS.Z (R8)(AX*1), K1, Z8
	VMOVUPS.Z (R9)(AX*1), K1, Z9
	UPDATETAIL((R14), Z11, Z4, Z0)
	UPDATETAIL((R14)(BX*1), Z12, Z5, Z1)
	UPDATETAIL((R14)(BX*2), Z13, Z6, Z2)
	UPDATETAIL((R14)(DX*1), Z14, Z7, Z3)

sum4:
	// Four sums at once, in the tree that REDUCE walks for one.
	VEXTRACTF64X4 $1, Z0, Y4
	VEXTRACTF64X4 $1, Z1, Y5
	VEXTRACTF64X4 $1, Z2, Y6
	VEXTRACTF64X4 $1, Z3, Y7
	VADDPS        Y4, Y0, Y0
	VADDPS        Y5, Y1, Y1
	VADDPS        Y6, Y2, Y2
	VADDPS        Y7, Y3, Y3
	VEXTRACTF128  $1, Y0, X4
	VEXTRACTF128  $1, Y1, X5
	VEXTRACTF128  $1, Y2, X6
	VEXTRACTF128  $1, Y3, X7
	VADDPS        X4, X0, X0
	VADDPS        X5, X1, X1
	VADDPS        X6, X2, X2
	VADDPS        X7, X3, X3
	VUNPCKLPS     X1, X0, X4
	VUNPCKHPS     X1, X0, X5
	VUNPCKLPS     X3, X2, X6
	VUNPCKHPS     X3, X2, X7
	VADDPS        X5, X4, X4
	VADDPS        X7, X6, X6
	VUNPCKLPD     X6, X4, X0
	VUNPCKHPD     X6, X4, X1
	VADDPS        X1, X0, X0
	VMOVUPS       X0, (R12)
	LEAQ          (SI)(BX*4), SI
	ADDQ          $16, R11
	ADDQ          $16, R12
	JMP           four

rest:
	ADDQ $4, CX

one:
	SUBQ   $1, CX
	JLT    done
	VPXORD Z0, Z0, Z0
	DTX(0, X4, Z4)
	MOVQ   SI, R14
	XORL   AX, AX
	CMPQ   AX, R10
	JGE    tail1

loop1:
	VMOVUPS (R8)(AX*1), Z8
	VMOVUPS (R9)(AX*1), Z9
	UPDATE((R14), Z11, Z4, Z0)
	ADDQ    $64, R14
	ADDQ    $64, AX
	CMPQ    AX, R10
	JLT     loop1

tail1:
	TESTQ     R13, R13
	JEQ       sum1
	VMOVUPS.Z (R8)(AX*1), K1, Z8
	VMOVUPS.Z (R9)(AX*1), K1, Z9
	UPDATETAIL((R14), Z11, Z4, Z0)

sum1:
	REDUCE
	VMOVSS X0, (R12)
	ADDQ   BX, SI
	ADDQ   $4, R11
	ADDQ   $4, R12
	JMP    one

done:
	VZEROUPPER
	RET
