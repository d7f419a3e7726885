// SPDX-License-Identifier: MIT
/* A library that has libapb.a in it, and, unlike libapb.so, goes when closed. */
#include <apb/apb.h>

APB_API int inside_run(void);

int inside_run(void)
{
	void *p = apb_malloc(100);

	apb_free(p);
	return p ? 0 : -1;
}
