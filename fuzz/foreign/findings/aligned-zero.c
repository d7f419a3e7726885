// SPDX-License-Identifier: MIT
/*
 * aligned-invalid: C17 7.22.3.1 (DR 460), C23: aligned_alloc() fails if the
 * alignment is not valid: a power of two.
 */
#include "show.h"

int main(void)
{
	void *p = aligned_alloc(is(0), is(0));

	SHOW(!p, "aligned_alloc(0, 0) = %p", p);
}
