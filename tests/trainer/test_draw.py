"""Which tasks an iteration gets: seeded, without repetition until all had their turn."""

from envs.task import Task
from trainer.draw import draw_tasks


def test_the_same_iteration_draws_the_same_tasks_whatever_their_order(tasks: list[Task]) -> None:
    assert draw_tasks(tasks, 2, seed=1, iteration=3) == draw_tasks(tasks[::-1], 2, seed=1, iteration=3)


def test_every_task_has_its_turn_before_one_comes_again(tasks: list[Task]) -> None:
    half = len(tasks) // 2
    first, second = (draw_tasks(tasks[: 2 * half], half, seed=0, iteration=n) for n in (0, 1))
    assert {task.id for task in (*first, *second)} == {task.id for task in tasks[: 2 * half]}


def test_more_than_there_are_is_all_of_them_once(tasks: list[Task]) -> None:
    assert len(draw_tasks(tasks, 99, seed=0, iteration=0)) == len({task.id for task in tasks})


def test_turns_go_on_where_the_number_of_tasks_is_no_multiple_of_the_draw(tasks: list[Task]) -> None:
    drawn = [task.id for n in range(len(tasks)) for task in draw_tasks(tasks, 2, seed=0, iteration=n)]
    assert len(tasks) == 7 and len(set(drawn[:6])) == 6 and len(set(drawn[:8])) == 7
    assert all(drawn.count(task.id) == 2 for task in tasks)
