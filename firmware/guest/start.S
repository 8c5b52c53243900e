/* SPDX-License-Identifier: Apache-2.0 */
/* The first instructions, and the one system call that C cannot make: clone onto another stack. */
#include <asm/unistd.h>

	.text
	.globl	_start
	.type	_start, @function
_start:						/* int start_main(long argc, char **argv) */
	xorl	%ebp, %ebp
	movq	(%rsp), %rdi
	leaq	8(%rsp), %rsi
	andq	$-16, %rsp
	call	start_main
	movl	%eax, %edi
	movl	$__NR_exit_group, %eax
	syscall
	hlt
	.size	_start, . - _start

/* long spawn(void (*function)(void *), void *argument, void *stack_top, unsigned long flags) */
	.globl	spawn
	.type	spawn, @function
spawn:
	movq	%rdi, %r8			/* not used by clone here, survives the system call */
	movq	%rsi, %r9
	movq	%rcx, %rdi
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
	.size	spawn, . - spawn

	.section .note.GNU-stack, "", @progbits
