/* SPDX-License-Identifier: MIT */
/*
 * apb-replay --each-fault: inputs with each of their calls of the system
 * failing in turn.
 */
#ifndef APB_FUZZ_EACHFAULT_H
#define APB_FUZZ_EACHFAULT_H

/*
 * A program of its own: @argv[0] is the option.  Returns the exit status.  Not
 * in every apb-replay: what runs inputs on another allocator knows no calls.
 */
__attribute__((weak)) int each_fault_main(int argc, char **argv);

#endif /* APB_FUZZ_EACHFAULT_H */
