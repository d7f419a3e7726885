/* SPDX-License-Identifier: MIT */
/* What the operators new of othernew.so return. */
#ifndef OTHERNEW_H
#define OTHERNEW_H

#define OTHER_POINTER ((void *)0x7777)

#endif /* OTHERNEW_H */
