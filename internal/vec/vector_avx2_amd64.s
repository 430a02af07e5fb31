#include "textflag.h"

// Elementwise functions and sums, AVX2 with FMA and F16C. All expect n > 0.
// They run in steps of 8 lanes; the last n%8 go through the same instructions
// with masked loads and stores, so no element depends on its place, and no
// load leaves the slice.
//
//	SI, DI  source, destination
//	CX      elements left; AX scratch

// Eight words of ones, then eight of zeros: a mask of t lanes starts 4·t bytes
// before the middle.
DATA ones<>+0(SB)/8, $-1
DATA ones<>+8(SB)/8, $-1
DATA ones<>+16(SB)/8, $-1
DATA ones<>+24(SB)/8, $-1
DATA ones<>+32(SB)/8, $0
DATA ones<>+40(SB)/8, $0
DATA ones<>+48(SB)/8, $0
DATA ones<>+56(SB)/8, $0
GLOBL ones<>(SB), RODATA|NOPTR, $64

// TAILMASK sets y for the CX < 8 elements left. Clobbers AX and CX.
#define TAILMASK(y) \
	LEAQ    ones<>+32(SB), AX; \
	SHLQ    $2, CX;            \
	SUBQ    CX, AX;            \
	VMOVUPS (AX), y

// REDUCE adds the lanes of Y0 into X0. Clobbers Y1.
#define REDUCE \
	VEXTRACTF128 $1, Y0, X1;   \
	VADDPS       X1, X0, X0;   \
	VMOVHLPS     X0, X0, X1;   \
	VADDPS       X1, X0, X0;   \
	VMOVSHDUP    X0, X1;       \
	VADDSS       X1, X0, X0

#define ZERO4 \
	VXORPS Y0, Y0, Y0; \
	VXORPS Y1, Y1, Y1; \
	VXORPS Y2, Y2, Y2; \
	VXORPS Y3, Y3, Y3

#define ADD4 \
	VADDPS Y1, Y0, Y0; \
	VADDPS Y3, Y2, Y2; \
	VADDPS Y2, Y0, Y0

// exp(Y0) in Y0 = 2^t · e^r with t = round(x/ln 2), r = x - t·ln 2 and
// e^r = 1 + r + r²·P(r). 2^t is applied in two factors, built from the bits of
// 1, that are in range even where their product is not. The order of the
// clamps' operands lets NaN through. Clobbers Y1 and Y2. Y3..Y14 hold expTable.
#define EXP \
	VMINPS       Y0, Y3, Y0;    \
	VMAXPS       Y0, Y4, Y0;    \
	VMULPS       Y5, Y0, Y1;    \
	VCVTPS2DQ    Y1, Y1;        \
	VCVTDQ2PS    Y1, Y2;        \
	VFNMADD231PS Y6, Y2, Y0;    \
	VFNMADD231PS Y7, Y2, Y0;    \
	VMOVAPS      Y8, Y2;        \
	VFMADD213PS  Y9, Y0, Y2;    \
	VFMADD213PS  Y10, Y0, Y2;   \
	VFMADD213PS  Y11, Y0, Y2;   \
	VFMADD213PS  Y12, Y0, Y2;   \
	VFMADD213PS  Y13, Y0, Y2;   \
	VMULPS       Y0, Y2, Y2;    \
	VFMADD213PS  Y0, Y0, Y2;    \
	VADDPS       Y14, Y2, Y2;   \
	VPSRAD       $1, Y1, Y0;    \
	VPSUBD       Y0, Y1, Y1;    \
	VPSLLD       $23, Y0, Y0;   \
	VPADDD       Y14, Y0, Y0;   \
	VMULPS       Y0, Y2, Y2;    \
	VPSLLD       $23, Y1, Y1;   \
	VPADDD       Y14, Y1, Y1;   \
	VMULPS       Y1, Y2, Y0

#define EXPTABLE \
	VBROADCASTSS ·expTable+0(SB), Y3;     \
	VBROADCASTSS ·expTable+4(SB), Y4;     \
	VBROADCASTSS ·expTable+8(SB), Y5;     \
	VBROADCASTSS ·expTable+12(SB), Y6;    \
	VBROADCASTSS ·expTable+16(SB), Y7;    \
	VBROADCASTSS ·expTable+20(SB), Y8;    \
	VBROADCASTSS ·expTable+24(SB), Y9;    \
	VBROADCASTSS ·expTable+28(SB), Y10;   \
	VBROADCASTSS ·expTable+32(SB), Y11;   \
	VBROADCASTSS ·expTable+36(SB), Y12;   \
	VBROADCASTSS ·expTable+40(SB), Y13;   \
	VBROADCASTSS ·expTable+44(SB), Y14

// Y0 / (1 + exp(-Y0)). Clobbers Y1, Y2 and Y15.
#define SILU \
	VMOVAPS Y0, Y15;       \
	VXORPS  Y1, Y1, Y1;    \
	VSUBPS  Y0, Y1, Y0;    \
	EXP;                   \
	VADDPS  Y14, Y0, Y0;   \
	VDIVPS  Y0, Y15, Y0

// EACH applies BODY to Y0, from float32 to float32.
#define EACH(BODY) \
	MOVQ       dst+0(FP), DI;    \
	MOVQ       src+8(FP), SI;    \
	MOVQ       n+16(FP), CX;     \
	SUBQ       $8, CX;           \
	JLT        tail;             \
loop:                            \
	VMOVUPS    (SI), Y0;         \
	BODY;                        \
	VMOVUPS    Y0, (DI);         \
	ADDQ       $32, SI;          \
	ADDQ       $32, DI;          \
	SUBQ       $8, CX;           \
	JGE        loop;             \
tail:                            \
	ADDQ       $8, CX;           \
	JEQ        done;             \
	TAILMASK(Y1);                \
	VMASKMOVPS (SI), Y1, Y0;     \
	BODY;                        \
	VMOVUPS    (AX), Y1;         \
	VMASKMOVPS Y0, Y1, (DI);     \
done:                            \
	VZEROUPPER;                  \
	RET

// CONVERT applies BODY, from (SI) to (DI), to n a multiple of 8.
#define CONVERT(from, to, BODY) \
	MOVQ dst+0(FP), DI;   \
	MOVQ src+8(FP), SI;   \
	MOVQ n+16(FP), CX;    \
loop:                     \
	BODY;                 \
	ADDQ $from, SI;       \
	ADDQ $to, DI;         \
	SUBQ $8, CX;          \
	JGT  loop;            \
	VZEROUPPER;           \
	RET

#define BF16TOF32 VPMOVZXWD (SI), Y0; VPSLLD $16, Y0, Y0; VMOVUPS Y0, (DI)
#define F16TOF32 VCVTPH2PS (SI), Y0; VMOVUPS Y0, (DI)

// Adds 0x7fff and the lowest bit kept, then drops the lower half; where the
// element is NaN, sets the quiet bit instead. Y13 = 1, Y14 = 0x7fff, Y15 = 0x40.
#define F32TOBF16 \
	VMOVUPS      (SI), Y0;            \
	VPSRLD       $16, Y0, Y1;         \
	VPAND        Y13, Y1, Y2;         \
	VPADDD       Y14, Y2, Y2;         \
	VPADDD       Y0, Y2, Y2;          \
	VPSRLD       $16, Y2, Y2;         \
	VPOR         Y15, Y1, Y1;         \
	VCMPPS       $3, Y0, Y0, Y3;      \
	VBLENDVPS    Y3, Y1, Y2, Y2;      \
	VEXTRACTI128 $1, Y2, X1;          \
	VPACKUSDW    X1, X2, X2;          \
	VMOVDQU      X2, (DI)

#define F32TOF16 VMOVUPS (SI), Y0; VCVTPS2PH $0, Y0, (DI)

// One step of four rows of the state, p to p+3, or of one.
//
//	SI, R14  the first row; the same, walking along n
//	BX, DX   row in bytes, three rows
//	R8, R9   b, c; AX offset in bytes; R10 its limit, the whole vectors
//	R11, R12 x, y; CX rows left; R13 elements past the whole vectors
//	Y0..Y3   sums; Y4..Y7 dt·x; Y8 b; Y9 c; Y10 decay; Y11 state
//	Y12 tail mask; X15 dt
#define UPDATE(m, dx, sum) \
	VMULPS      m, Y10, Y11;    \
	VFMADD231PS Y8, dx, Y11;    \
	VMOVUPS     Y11, m;         \
	VFMADD231PS Y9, Y11, sum

#define UPDATETAIL(m, dx, sum) \
	VMASKMOVPS  m, Y12, Y11;    \
	VMULPS      Y11, Y10, Y11;  \
	VFMADD231PS Y8, dx, Y11;    \
	VMASKMOVPS  Y11, Y12, m;    \
	VFMADD231PS Y9, Y11, sum

#define DTX(off, dx, y) \
	VMULSS       off(R11), X15, dx;   \
	VBROADCASTSS dx, y

// func expAVX2(dst, src *float32, n int)
TEXT ·expAVX2(SB), NOSPLIT, $0-24
	EXPTABLE
	EACH(EXP)

// func siluAVX2(dst, src *float32, n int)
TEXT ·siluAVX2(SB), NOSPLIT, $0-24
	EXPTABLE
	EACH(SILU)

// func bf16ToF32AVX2(dst *float32, src *uint16, n int)
TEXT ·bf16ToF32AVX2(SB), NOSPLIT, $0-24
	CONVERT(16, 32, BF16TOF32)

// func f16ToF32AVX2(dst *float32, src *uint16, n int)
TEXT ·f16ToF32AVX2(SB), NOSPLIT, $0-24
	CONVERT(16, 32, F16TOF32)

// func f32ToBF16AVX2(dst *uint16, src *float32, n int)
TEXT ·f32ToBF16AVX2(SB), NOSPLIT, $0-24
	VPCMPEQD Y0, Y0, Y0
	VPSRLD   $31, Y0, Y13
	VPSRLD   $17, Y0, Y14
	VPSLLD   $6, Y13, Y15
	CONVERT(32, 16, F32TOBF16)

// func f32ToF16AVX2(dst *uint16, src *float32, n int)
TEXT ·f32ToF16AVX2(SB), NOSPLIT, $0-24
	CONVERT(32, 16, F32TOF16)

// func expSumAVX2(x *float32, max float32, n int) float32
//
// Y15 sums.
TEXT ·expSumAVX2(SB), NOSPLIT, $0-28
	EXPTABLE
	MOVQ   x+0(FP), SI
	MOVQ   n+16(FP), CX
	VXORPS Y15, Y15, Y15
	SUBQ   $8, CX
	JLT    tail

loop:
	VBROADCASTSS max+8(FP), Y1
	VMOVUPS      (SI), Y0
	VSUBPS       Y1, Y0, Y0
	EXP
	VMOVUPS      Y0, (SI)
	VADDPS       Y0, Y15, Y15
	ADDQ         $32, SI
	SUBQ         $8, CX
	JGE          loop

tail:
	ADDQ         $8, CX
	JEQ          done
	TAILMASK(Y1)
	VMASKMOVPS   (SI), Y1, Y0
	VBROADCASTSS max+8(FP), Y1
	VSUBPS       Y1, Y0, Y0
	EXP
	VMOVUPS      (AX), Y1
	VMASKMOVPS   Y0, Y1, (SI)
	VANDPS       Y1, Y0, Y0
	VADDPS       Y0, Y15, Y15

done:
	VMOVAPS Y15, Y0
	REDUCE
	VMOVSS  X0, ret+24(FP)
	VZEROUPPER
	RET

// func dotAVX2(a, b *float32, n int) float32
//
// Y0..Y3 sum, 32 elements a step, then 8 at a time into Y0.
TEXT ·dotAVX2(SB), NOSPLIT, $0-28
	MOVQ a+0(FP), SI
	MOVQ b+8(FP), DI
	MOVQ n+16(FP), CX
	ZERO4
	SUBQ $32, CX
	JLT  rest

loop:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VFMADD231PS (DI), Y4, Y0
	VFMADD231PS 32(DI), Y5, Y1
	VFMADD231PS 64(DI), Y6, Y2
	VFMADD231PS 96(DI), Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JGE         loop

rest:
	ADDQ $32, CX
	ADD4

more:
	CMPQ        CX, $8
	JLT         tail
	VMOVUPS     (SI), Y4
	VFMADD231PS (DI), Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JMP         more

tail:
	TESTQ       CX, CX
	JEQ         done
	TAILMASK(Y6)
	VMASKMOVPS  (SI), Y6, Y4
	VMASKMOVPS  (DI), Y6, Y5
	VFMADD231PS Y5, Y4, Y0

done:
	REDUCE
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func axpyAVX2(y *float32, a float32, x *float32, n int)
TEXT ·axpyAVX2(SB), NOSPLIT, $0-32
	MOVQ         y+0(FP), DI
	VBROADCASTSS a+8(FP), Y0
	MOVQ         x+16(FP), SI
	MOVQ         n+24(FP), CX
	SUBQ         $8, CX
	JLT          tail

loop:
	VMOVUPS     (DI), Y1
	VFMADD231PS (SI), Y0, Y1
	VMOVUPS     Y1, (DI)
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JGE         loop

tail:
	ADDQ        $8, CX
	JEQ         done
	TAILMASK(Y3)
	VMASKMOVPS  (DI), Y3, Y1
	VMASKMOVPS  (SI), Y3, Y2
	VFMADD231PS Y2, Y0, Y1
	VMASKMOVPS  Y1, Y3, (DI)

done:
	VZEROUPPER
	RET

// func sumAVX2(x *float32, n int) float32
//
// Y0..Y3 sum, 32 elements a step, then 8 at a time into Y0.
TEXT ·sumAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	ZERO4
	SUBQ $32, CX
	JLT  rest

loop:
	VADDPS (SI), Y0, Y0
	VADDPS 32(SI), Y1, Y1
	VADDPS 64(SI), Y2, Y2
	VADDPS 96(SI), Y3, Y3
	ADDQ   $128, SI
	SUBQ   $32, CX
	JGE    loop

rest:
	ADDQ $32, CX
	ADD4

more:
	CMPQ   CX, $8
	JLT    tail
	VADDPS (SI), Y0, Y0
	ADDQ   $32, SI
	SUBQ   $8, CX
	JMP    more

tail:
	TESTQ      CX, CX
	JEQ        done
	TAILMASK(Y5)
	VMASKMOVPS (SI), Y5, Y4
	VADDPS     Y4, Y0, Y0

done:
	REDUCE
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func centredSquaresAVX2(x *float32, mean float32, n int) float32
//
// Y0..Y3 sum, 32 elements a step, then 8 at a time into Y0. Y8 is the mean.
TEXT ·centredSquaresAVX2(SB), NOSPLIT, $0-28
	MOVQ         x+0(FP), SI
	VBROADCASTSS mean+8(FP), Y8
	MOVQ         n+16(FP), CX
	ZERO4
	SUBQ         $32, CX
	JLT          rest

loop:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VSUBPS      Y8, Y4, Y4
	VSUBPS      Y8, Y5, Y5
	VSUBPS      Y8, Y6, Y6
	VSUBPS      Y8, Y7, Y7
	VFMADD231PS Y4, Y4, Y0
	VFMADD231PS Y5, Y5, Y1
	VFMADD231PS Y6, Y6, Y2
	VFMADD231PS Y7, Y7, Y3
	ADDQ        $128, SI
	SUBQ        $32, CX
	JGE         loop

rest:
	ADDQ $32, CX
	ADD4

more:
	CMPQ        CX, $8
	JLT         tail
	VMOVUPS     (SI), Y4
	VSUBPS      Y8, Y4, Y4
	VFMADD231PS Y4, Y4, Y0
	ADDQ        $32, SI
	SUBQ        $8, CX
	JMP         more

tail:
	TESTQ       CX, CX
	JEQ         done
	TAILMASK(Y5)
	VMASKMOVPS  (SI), Y5, Y4
	VSUBPS      Y8, Y4, Y4
	VANDPS      Y5, Y4, Y4
	VFMADD231PS Y4, Y4, Y0

done:
	REDUCE
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func scanAVX2(y, state, b, c, x *float32, decay, dt float32, rows, n int)
TEXT ·scanAVX2(SB), NOSPLIT, $0-64
	MOVQ         y+0(FP), R12
	MOVQ         state+8(FP), SI
	MOVQ         b+16(FP), R8
	MOVQ         c+24(FP), R9
	MOVQ         x+32(FP), R11
	VBROADCASTSS decay+40(FP), Y10
	VMOVSS       dt+44(FP), X15
	MOVQ         n+56(FP), R13
	MOVQ         R13, BX
	SHLQ         $2, BX
	LEAQ         (BX)(BX*2), DX
	MOVQ         R13, R10
	ANDQ         $~7, R10
	SHLQ         $2, R10
	ANDQ         $7, R13
	MOVQ         R13, CX
	TAILMASK(Y12)
	MOVQ         rows+48(FP), CX

four:
	SUBQ $4, CX
	JLT  rest
	ZERO4
	DTX(0, X4, Y4)
	DTX(4, X5, Y5)
	DTX(8, X6, Y6)
	DTX(12, X7, Y7)
	MOVQ SI, R14
	XORL AX, AX
	CMPQ AX, R10
	JGE  tail4

loop4:
	VMOVUPS (R8)(AX*1), Y8
	VMOVUPS (R9)(AX*1), Y9
	UPDATE((R14), Y4, Y0)
	UPDATE((R14)(BX*1), Y5, Y1)
	UPDATE((R14)(BX*2), Y6, Y2)
	UPDATE((R14)(DX*1), Y7, Y3)
	ADDQ    $32, R14
	ADDQ    $32, AX
	CMPQ    AX, R10
	JLT     loop4

tail4:
	TESTQ      R13, R13
	JEQ        sum4
	VMASKMOVPS (R8)(AX*1), Y12, Y8
	VMASKMOVPS (R9)(AX*1), Y12, Y9
	UPDATETAIL((R14), Y4, Y0)
	UPDATETAIL((R14)(BX*1), Y5, Y1)
	UPDATETAIL((R14)(BX*2), Y6, Y2)
	UPDATETAIL((R14)(DX*1), Y7, Y3)

sum4:
	// Four sums at once, in the tree that REDUCE walks for one.
	VEXTRACTF128 $1, Y0, X4
	VEXTRACTF128 $1, Y1, X5
	VEXTRACTF128 $1, Y2, X6
	VEXTRACTF128 $1, Y3, X7
	VADDPS       X4, X0, X0
	VADDPS       X5, X1, X1
	VADDPS       X6, X2, X2
	VADDPS       X7, X3, X3
	VUNPCKLPS    X1, X0, X4
	VUNPCKHPS    X1, X0, X5
	VUNPCKLPS    X3, X2, X6
	VUNPCKHPS    X3, X2, X7
	VADDPS       X5, X4, X4
	VADDPS       X7, X6, X6
	VUNPCKLPD    X6, X4, X0
	VUNPCKHPD    X6, X4, X1
	VADDPS       X1, X0, X0
	VMOVUPS      X0, (R12)
	LEAQ         (SI)(BX*4), SI
	ADDQ         $16, R11
	ADDQ         $16, R12
	JMP          four

rest:
	ADDQ $4, CX

one:
	SUBQ   $1, CX
	JLT    done
	VXORPS Y0, Y0, Y0
	DTX(0, X4, Y4)
	MOVQ   SI, R14
	XORL   AX, AX
	CMPQ   AX, R10
	JGE    tail1

loop1:
	VMOVUPS (R8)(AX*1), Y8
	VMOVUPS (R9)(AX*1), Y9
	UPDATE((R14), Y4, Y0)
	ADDQ    $32, R14
	ADDQ    $32, AX
	CMPQ    AX, R10
	JLT     loop1

tail1:
	TESTQ      R13, R13
	JEQ        sum1
	VMASKMOVPS (R8)(AX*1), Y12, Y8
	VMASKMOVPS (R9)(AX*1), Y12, Y9
	UPDATETAIL((R14), Y4, Y0)

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
