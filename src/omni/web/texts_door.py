"""What the dashboard says at its door: login, refusals, and questions before a change."""

from __future__ import annotations

DOOR: dict[str, tuple[str, ...]] = {
    "door.title": ("Log in", "登录"),
    "door.ready": (
        "This link opens the dashboard in this browser, once.",
        "此链接可在本浏览器中打开仪表盘，仅限一次。",
    ),
    "door.open": ("Open the dashboard", "打开仪表盘"),
    "door.needed": ("This page needs a login", "此页面需要登录"),
    "door.how": (
        "Run this command on the machine where Omni runs, and open the link that it prints:",
        "请在运行 Omni 的机器上执行此命令，并打开它给出的链接：",
    ),
    "door.again": ("Logged in already, and came here by a link from elsewhere?", "已登录，只是从别处的链接来到这里？"),
    "door.go": ("Go on", "继续"),
    "door.void": ("This link is not good (any more)", "此链接无效或已失效"),
    "door.void_why": (
        "A link opens the dashboard once, within a minute of being made.",
        "每个链接只能使用一次，且须在生成后一分钟内使用。",
    ),
    "door.foreign": ("This request did not come from a page of ours", "此请求并非来自本站页面"),
    "door.stale": ("This page is out of date: load it again", "页面已过期，请重新加载"),
    "door.nothing": ("There is no such page", "没有这个页面"),
    "door.next": ("Next:", "下一步："),
    "door.failed": ("This page could not be made", "无法生成此页面"),
    "door.failed_why": ("The reason is in the log of the daemon.", "原因见守护进程日志。"),
    "door.home": ("To the dashboard", "回到仪表盘"),
    "act.back": ("No, go back", "不，返回"),
    "act.cancel": ("Cancel this task?", "取消此任务？"),
    "act.cancel.why": (
        "A running attempt is told to stop; what it has done stays done.",
        "将通知正在执行的尝试停止；已完成的部分不会撤销。",
    ),
    "act.cancel.do": ("Cancel the task", "取消任务"),
    "act.retry": ("Try this task again?", "重试此任务？"),
    "act.retry.why": (
        "A held task goes on; one that has ended is handed in anew.",
        "待处理的任务将继续；已结束的任务将重新提交。",
    ),
    "act.retry.do": ("Try again", "重试"),
    "act.resolve.retry": ("Run this task again?", "再次运行此任务？"),
    "act.resolve.retry.why": (
        "What the attempt before has done may be done a second time.",
        "上一次尝试已完成的工作可能会再做一遍。",
    ),
    "act.resolve.retry.do": ("Run it again", "再次运行"),
    "act.resolve.accept": ("Count this task as done?", "将此任务视为完成？"),
    "act.resolve.accept.why": (
        "It ends as completed, without a result of its own.",
        "任务将以“已完成”结束，但没有结果内容。",
    ),
    "act.resolve.accept.do": ("Count as done", "视为完成"),
    "act.resolve.fail": ("Give this task up?", "放弃此任务？"),
    "act.resolve.fail.why": ("It ends as failed.", "任务将以“失败”结束。"),
    "act.resolve.fail.do": ("Give up", "放弃"),
}
