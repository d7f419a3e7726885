/* SPDX-License-Identifier: MIT */
/*
 * What the test programs have in common: an expectation that does not hold is
 * told on stderr and ends the program with status 1.  No stdio: it allocates,
 * and some of this runs when nothing may go wrong.
 */
#ifndef EXPECT_H
#define EXPECT_H

#include <string.h>
#include <unistd.h>

static inline void expect_say(const char *text)
{
	if (write(2, text, strlen(text)) < 0)
		_exit(1);
}

#define EXPECT_TEXT(x) #x
#define EXPECT_LINE(x) EXPECT_TEXT(x)

#define EXPECT(condition)                                              \
	do {                                                           \
		if (!(condition)) {                                    \
			expect_say(__FILE__ ":" EXPECT_LINE(           \
				__LINE__) ": "                         \
					  "not so: " #condition "\n"); \
			_exit(1);                                      \
		}                                                      \
	} while (0)

#endif /* EXPECT_H */
