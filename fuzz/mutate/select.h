/* SPDX-License-Identifier: MIT */
/* The marks of a tracing program. */
#ifndef APB_MUTATE_SELECT_H
#define APB_MUTATE_SELECT_H

#include <stddef.h>

/* Their number, 0 if nothing is traced; byte n is 1 if mutant n is marked. */
size_t mutate_marks(const unsigned char **at);

/* Set all to 0. */
void mutate_forget(void);

#endif /* APB_MUTATE_SELECT_H */
