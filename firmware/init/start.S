/* SPDX-License-Identifier: Apache-2.0 */
/* The first instructions of PID 1, and the one system call that C cannot make: clone onto another stack. */
#include <asm/unistd.h>

	.text
	.globl	_start
	.type	_start, @function
_start:
	xorl	%ebp, %ebp
	movq	%rsp, %rdi			/* argc, argv, NULL, envp, NULL */
	andq	$-16, %rsp
	call	init_main
	movl	%eax, %edi
	movl	$__NR_exit_group, %eax
	syscall
	hlt
	.size	_start, . - _start

/* long spawn_shared(void (*function)(void *), void *argument, void *stack_top) */
	.globl	spawn_shared
	.type	spawn_shared, @function
spawn_shared:
	movq	%rdi, %r8			/* not used by clone here, survives the system call */
	movq	%rsi, %r9
	movl	$0x4111, %edi			/* CLONE_VM | CLONE_VFORK | SIGCHLD */
	movq	%rdx, %rsi
	andq	$-16, %rsi
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	movl	$__NR_clone, %eax
	syscall
	testq	%rax, %rax
	jz	1f
	ret
1:	xorl	%ebp, %ebp
	movq	%r9, %rdi
	call	*%r8
	hlt
	.size	spawn_shared, . - spawn_shared

	.section .note.GNU-stack, "", @progbits
