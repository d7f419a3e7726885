/* SPDX-License-Identifier: MIT */
/*
 * Size classes: 1..32 are 16, 32, ... 512; 33..56 are 640, 768, 896, 1024,
 * 1280, ... 32768, four to a doubling (tracking builds: 33..80 are 576, 640, ...
 * 32768, eight).  Class 0 does not exist.
 */
#ifndef APB_CLASS_H
#define APB_CLASS_H

#include "config.h"

/* Class of a request of 1 to APB_MAX_POOLED bytes; 0 for 0 bytes. */
static inline unsigned int apb_class_of(size_t size)
{
	unsigned int top;

	if (size <= APB_SMALL_MAX)
		return (unsigned int)((size + 15) >> APB_CLASS_STEP_SHIFT);
	size--;
	/* XOR rather than minus: clz is a bsr and an XOR, which cancel out */
	top = 63u ^ (unsigned int)__builtin_clzl(size);
	return APB_NR_SMALL_CLASSES + 1 +
	       ((top - APB_SMALL_MAX_SHIFT) << APB_DOUBLING_SHIFT) +
	       (unsigned int)((size >> (top - APB_DOUBLING_SHIFT)) &
			      ((1 << APB_DOUBLING_SHIFT) - 1));
}

/* Bytes of a block of class @cls. */
static inline size_t apb_class_size(unsigned int cls)
{
	unsigned int geo;

	if (cls <= APB_NR_SMALL_CLASSES)
		return (size_t)cls << APB_CLASS_STEP_SHIFT;
	geo = cls - APB_NR_SMALL_CLASSES - 1;
	return (size_t)((1 << APB_DOUBLING_SHIFT) + 1 +
			geo % (1 << APB_DOUBLING_SHIFT))
	       << (APB_SMALL_MAX_SHIFT - APB_DOUBLING_SHIFT +
		   (geo >> APB_DOUBLING_SHIFT));
}

/* What class @cls is in statistics, which know of four to a doubling. */
static inline unsigned int apb_class_told(unsigned int cls)
{
	if (cls <= APB_NR_SMALL_CLASSES)
		return cls;
	return APB_NR_SMALL_CLASSES + 1 +
	       ((cls - APB_NR_SMALL_CLASSES - 1) >> (APB_DOUBLING_SHIFT - 2));
}

/* Pool kind (0, 1, 2) of class @cls, and the pool size of a kind. */
static inline unsigned int apb_class_kind(unsigned int cls)
{
	size_t size = apb_class_size(cls);

	return (size > APB_POOL_SMALL_MAX) + (size > APB_POOL_MEDIUM_MAX);
}

static inline unsigned int apb_kind_shift(unsigned int kind)
{
	static const unsigned char shift[APB_NR_POOL_KINDS] = {
		APB_POOL_SHIFT_SMALL,
		APB_POOL_SHIFT_MEDIUM,
		APB_POOL_SHIFT_BIG,
	};

	return shift[kind];
}

/*
 * Class of an aligned request: the smallest that holds @size and whose blocks
 * all have the alignment.  Blocks lie at multiples of their size from a base
 * that is aligned to a cache line, or, if their size is a power of two, to
 * their size or a page (see apb_pool_init()): so up to a cache line the size
 * has to be a multiple of @align, beyond it has to be a power of two.  @align
 * is a power of two up to APB_MAX_POOL_ALIGN, @size is 1 to APB_MAX_POOLED.
 */
static inline unsigned int apb_class_of_aligned(size_t align, size_t size)
{
	if (size < align)
		size = align;
	if (align > APB_CACHE_LINE)
		size = (size_t)1 << (64 - __builtin_clzl(size - 1));
	else
		size = (size + align - 1) & -align;
	return apb_class_of(size);
}

#endif /* APB_CLASS_H */
